"""The overview picture: curved sagittal and coronal views with names, outlines and six points beside a table of the numbers.

It holds no patient identity, so that it can be shown and stored where only pixels travel.
"""

from io import BytesIO

from PIL import Image, ImageDraw

from trabecula_service.render import wording
from trabecula_service.render.column_picture import column_picture, font, sagittal_panel
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.languages import DEFAULT_LANGUAGE
from trabecula_service.render.phrases import phrase, term
from trabecula_service.render.shared_parts import once_per_input
from trabecula_service.result import Level

WIDTH, HEIGHT = 1600, 1100
_HEADER, _FOOTER, _MARGIN = 92, 64, 16
_TABLE_X = 950
_SMALLEST = 11
"""Text is made smaller to fit its column, but never below this size."""

_BACK = (12, 14, 18)
_TEXT = (236, 240, 244)
_DIM = (160, 170, 180)
_MARK = (255, 196, 84)

_COLUMNS = (0, 68, 178, 352, 420)
"""Left edges of the columns of the table, from its own left edge."""


def overview_png(document_input: DocumentInput) -> bytes:
    """``overview.png``."""
    buffer = BytesIO()
    overview_picture(document_input).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


@once_per_input
def overview_picture(document_input: DocumentInput) -> Image.Image:
    """The picture as RGB, 1600 x 1100."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), _BACK)
    draw = ImageDraw.Draw(canvas)
    _header(draw, document_input)
    height = HEIGHT - _HEADER - _FOOTER
    sagittal = sagittal_panel(document_input)
    canvas.paste(sagittal, (_MARGIN, _HEADER))
    canvas.paste(column_picture(document_input, "coronal", (400, height)), (2 * _MARGIN + sagittal.width, _HEADER))
    _table(draw, document_input)
    _footer(draw, document_input)
    return canvas


def _header(draw: ImageDraw.ImageDraw, document_input: DocumentInput) -> None:
    language = document_input.language
    draw.text((_MARGIN, 10), phrase(language, "mark"), font=font(24, bold=True), fill=_MARK)
    draw.text((WIDTH - _MARGIN, 14), wording.standing(document_input.result, language), font=font(20), fill=_MARK, anchor="ra")
    headline = _shortened(wording.typeset(wording.headline(document_input.result, language)), 26, WIDTH - 2 * _MARGIN)
    draw.text((_MARGIN, 50), headline, font=font(26, bold=True), fill=_TEXT)


def _shortened(text: str, size: int, width: int) -> str:
    face = font(size, bold=True)
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + " ...") > width:
        text = text[:-1]
    return text + " ..."


def _table(draw: ImageDraw.ImageDraw, document_input: DocumentInput) -> None:
    result, language = document_input.result, document_input.language
    y = _HEADER
    titles = (term(language, "label", "overview_level"), "HU", "mg/cm³ (95 %)", term(language, "label", "overview_loss"), "Genant")
    for title, offset in zip(titles, _COLUMNS, strict=True):
        draw.text((_TABLE_X + offset, y), title, font=font(17), fill=_DIM)
    y += 30
    step = min(34, (HEIGHT - _HEADER - _FOOTER - 250) // max(len(result.levels), 1))
    for level in result.levels:
        fill = _MARK if (level.genant.grade or 0) >= 1 else _TEXT
        for index, (offset, text) in enumerate(zip(_COLUMNS, level_cells(level, language), strict=True)):
            end = _COLUMNS[index + 1] - 6 if index + 1 < len(_COLUMNS) else WIDTH - _MARGIN - _TABLE_X
            size = _fitting_size(text, min(19, step - 2), end - offset, bold=index == 0)
            draw.text((_TABLE_X + offset, y), text, font=font(size, bold=index == 0), fill=fill)
        y += step
    y += 14
    phase = term(language, "phase", result.acquisition.contrast.phase)
    paragraphs = [
        wording.density_statement(result, language),
        wording.numbering_statement(result, language),
        phrase(language, "contrast", phase=phase, spacing=f"{result.source.slice_spacing_mm:.2f}"),
    ]
    for paragraph in paragraphs:
        for line in _wrapped(paragraph, 17, WIDTH - _TABLE_X - _MARGIN):
            if y > HEIGHT - _FOOTER - 20:
                return
            draw.text((_TABLE_X, y), line, font=font(17), fill=_TEXT)
            y += 23
        y += 8


def _fitting_size(text: str, size: int, width: int, *, bold: bool) -> int:
    """The largest size, at most ``size``, at which the text is no wider than its column."""
    while size > _SMALLEST and font(size, bold=bold).getlength(text) > width:
        size -= 1
    return size


def level_cells(level: Level, language: str = DEFAULT_LANGUAGE) -> tuple[str, str, str, str, str]:
    """Name, HU, density, loss and grade of one level as they stand in tables; a dash where not measured, for loss where not graded."""
    hu = f"{level.hu.mean:.0f} ± {level.hu.sd:.0f}" if level.hu else "–"
    density = "–"
    if level.density:
        low, high = level.density.interval95
        density = f"{level.density.value_mg_cm3:.0f} ({low:.0f} {term(language, 'label', 'to')} {high:.0f})"
    loss = level.height_loss.max if level.height_loss and level.genant.grade is not None else None
    return level.name, hu, density, wording.percent(loss) if loss is not None else "–", wording.grade_text(level, language)


def _wrapped(text: str, size: int, width: int) -> list[str]:
    face, lines = font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _footer(draw: ImageDraw.ImageDraw, document_input: DocumentInput) -> None:
    result, language = document_input.result, document_input.language
    source = result.source
    series = term(language, "label", "overview_series").format(number=source.series_number) if source.series_number is not None else ""
    text = term(language, "label", "overview_footer").format(
        version=result.software.version,
        weights=result.software.weights_sha256[:12],
        series=series,
        count=source.file_count,
        number=document_input.version,
        created=f"{document_input.created:%Y-%m-%d %H:%M %Z}",
    )
    draw.text((_MARGIN, HEIGHT - _FOOTER + 12), text, font=font(15), fill=_DIM)
    draw.text((_MARGIN, HEIGHT - _FOOTER + 36), term(language, "label", "overview_legend"), font=font(15), fill=_DIM)
