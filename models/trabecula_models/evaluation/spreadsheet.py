"""Tables from CSV and XLSX files, as rows of text by column name."""

import csv
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from trabecula_morphometry.errors import InputError

Row = dict[str, str]

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_CELL = re.compile(r"([A-Z]+)\d+")
_LARGEST_PART_BYTES = 200_000_000


def read_table(path: Path, is_header: Callable[[Sequence[str]], bool]) -> list[Row]:
    """Rows under the first line that ``is_header`` accepts; in an XLSX file, of the first sheet that has such a line.

    Raises
    ------
    InputError : neither CSV nor XLSX, or no such line.
    """
    try:
        sheets = _xlsx_sheets(path) if path.suffix.lower() in (".xlsx", ".xlsm") else [_csv_lines(path)]
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, csv.Error) as error:
        raise InputError("the spreadsheet cannot be read", where=path.name, hint="give a CSV or XLSX file") from error
    for lines in sheets:
        for place, line in enumerate(lines):
            header = [cell.strip() for cell in line]
            if is_header(header):
                return [dict(zip(header, (cell.strip() for cell in row), strict=False)) for row in lines[place + 1 :] if any(row)]
    raise InputError("the spreadsheet has no line with the expected column names", where=path.name, hint="see docs/researcher.md")


def _csv_lines(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    # A German Excel separates by semicolons.
    first = text.partition("\n")[0]
    return list(csv.reader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ","))


def _xlsx_sheets(path: Path) -> list[list[list[str]]]:
    """Cell texts of every sheet: an XLSX file is a zip of XML parts (ECMA-376), of which only strings and numbers matter here."""
    with zipfile.ZipFile(path) as archive:
        names = sorted((n for n in archive.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", n)), key=lambda n: (len(n), n))
        shared = []
        if "xl/sharedStrings.xml" in archive.namelist():
            shared = [_texts(item) for item in _part(archive, "xl/sharedStrings.xml").iter(f"{_SHEET}si")]
        return [[_line(row, shared) for row in _part(archive, name).iter(f"{_SHEET}row")] for name in names]


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > _LARGEST_PART_BYTES:
        raise ValueError(name)
    with archive.open(name) as stream:
        return ElementTree.parse(stream).getroot()  # noqa: S314 - expat itself bounds entity growth; the user's own file


def _line(row: ElementTree.Element, shared: Sequence[str]) -> list[str]:
    cells: dict[int, str] = {}
    for place, cell in enumerate(row.iter(f"{_SHEET}c")):
        reference = _CELL.match(cell.get("r", ""))
        column = _column(reference[1]) if reference else place
        value = cell.findtext(f"{_SHEET}v") or ""
        kind = cell.get("t")
        cells[column] = shared[int(value)] if kind == "s" and value else _texts(cell) if kind == "inlineStr" else value
    return [cells.get(column, "") for column in range(max(cells, default=-1) + 1)]


def _texts(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_SHEET}t"))


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1
