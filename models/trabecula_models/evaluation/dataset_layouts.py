"""Where the files of a case lie in VerSe'19, VerSe'20 and CTSpine1K, found by name wherever they are under a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trabecula_models.evaluation.case_names import case_name, is_nifti, match_by_name, without_extension
from trabecula_models.evaluation.case_score import Reference
from trabecula_models.evaluation.centroid_files import read_centroids
from trabecula_models.evaluation.mask_files import read_mask
from trabecula_models.evaluation.overlap import mask_centers_mm
from trabecula_morphometry.errors import InputError

_MASK_ENDINGS = ("_seg-vert_msk", "_seg")
_NOT_A_MASK_OF_VERTEBRAE = ("subreg_msk", "-w", "_snp")
_TABLE_ENDINGS = (".csv", ".xlsx", ".xlsm")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCase:
    """Files of one case; ``image`` is None where only masks were downloaded, ``group`` names its part of the dataset."""

    name: str
    mask: Path
    image: Path | None = None
    centroids: Path | None = None
    group: str = ""

    def read_reference(self) -> Reference:
        """Read masks and centres; raises InputError where a file is damaged or they contradict each other."""
        masks = read_mask(self.mask)
        if self.centroids is None:
            return Reference(masks=masks)
        given = read_centroids(self.centroids, masks.grid, mask_centers_mm(masks))
        return Reference(
            masks=masks, centers_mm=given.centers_mm, note="" if given.is_expected_system else f"centroids read as {given.system}"
        )


def find_verse_cases(root: Path) -> list[DatasetCase]:
    """Cases of VerSe'19 or VerSe'20, as challenge files or as subject folders.

    Raises
    ------
    InputError : no mask, or two masks of one case.
    """
    files = _files(root)
    centroids = {case_name(path): path for path in files if path.suffix == ".json" and "ctd" in path.stem.lower()}
    return _cases(root, _masks(files), _images(files), centroids)


def find_ctspine1k_cases(root: Path, split: Mapping[str, frozenset[str]] | None = None) -> list[DatasetCase]:
    """Cases of CTSpine1K: volumes and ``_seg`` labels in folders by source; with a split, those of its sets, named in ``group``.

    Raises
    ------
    InputError : no mask, two masks of one case, or none that the split names.
    """
    files = _files(root)
    cases = _cases(root, _masks(files), _images(files), {})
    if split is None:
        return cases
    group_of = {name: group for group, names in split.items() for name in names}
    matched = match_by_name(group_of, {case.name: case for case in cases})
    if not matched:
        raise InputError("the split names none of the cases", where=root.name, hint="is it the split of another dataset?")
    return [
        DatasetCase(name=case.name, mask=case.mask, image=case.image, group=group_of[name])
        for name, case in sorted(matched.items(), key=lambda item: (group_of[item[0]], item[1].name))
    ]


def find_reference_masks(root: Path) -> list[DatasetCase]:
    """Every NIfTI file under a folder as a reference mask, whatever its name; an image beside its ``_seg`` mask is left out."""
    files = [path for path in _files(root) if is_nifti(path)]
    marked = _masks(files)
    return _cases(root, marked or {case_name(path): path for path in _without_twins(files)}, {}, {})


def read_split(path: Path) -> dict[str, frozenset[str]]:
    """CTSpine1K's ``data_split.txt``: file names under headings that end with a colon.

    Returns
    -------
    split : case names by heading (``trainset``, ``test_public``, ``test_private``).
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the split cannot be read", where=path.name, hint="check its path") from error
    split: dict[str, set[str]] = {}
    group = ""
    for line in lines:
        if line.endswith(":"):
            group = line.removesuffix(":").strip()
        elif line:
            split.setdefault(group, set()).add(case_name(Path(line)))
    if not split or "" in split:
        raise InputError("the split has names without a heading", where=path.name, hint='expected headings such as "test_public:"')
    return {name: frozenset(names) for name, names in split.items()}


def find_table(root: Path) -> Path | None:
    """The spreadsheet of a dataset folder, None if there is none.

    Raises
    ------
    InputError : several, so that one must be named.
    """
    tables = [path for path in _files(root) if path.suffix.lower() in _TABLE_ENDINGS and not path.name.startswith("~")]
    if len(tables) > 1:
        raise InputError("several spreadsheets in the dataset's folder", where=root.name, hint="name one with --spreadsheet")
    return tables[0] if tables else None


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError("the dataset's folder is missing", where=root.name, hint="check the path")
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def _masks(files: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        name = without_extension(path)
        if is_nifti(path) and name.endswith(_MASK_ENDINGS) and not name.endswith(_NOT_A_MASK_OF_VERTEBRAE):
            case = case_name(path)
            if case in found:
                raise InputError("two masks of one case", where=case, hint="give one part of the dataset at a time")
            found[case] = path
    return found


def _images(files: list[Path]) -> dict[str, Path]:
    """Volumes that are no masks; where one case has several files, the one whose name ends with ``_ct``."""
    found: dict[str, Path] = {}
    for path in files:
        name = without_extension(path)
        if is_nifti(path) and not name.endswith((*_MASK_ENDINGS, "_msk", *_NOT_A_MASK_OF_VERTEBRAE)):
            case = case_name(path)
            if case not in found or name.endswith("_ct"):
                found[case] = path
    return found


def _cases(root: Path, masks: Mapping[str, Path], images: Mapping[str, Path], centroids: Mapping[str, Path]) -> list[DatasetCase]:
    if not masks:
        raise InputError(
            "no reference mask found", where=root.name, hint="expected files such as NAME_seg-vert_msk.nii.gz or NAME_seg.nii.gz"
        )
    image_of, centroids_of = match_by_name(masks, images), match_by_name(masks, centroids)
    return [DatasetCase(name=name, mask=mask, image=image_of.get(name), centroids=centroids_of.get(name)) for name, mask in masks.items()]


def _without_twins(files: list[Path]) -> list[Path]:
    names: dict[str, Path] = {}
    for path in files:
        if case_name(path) in names:
            raise InputError("two reference masks of one case", where=case_name(path), hint="keep one label volume per case in the folder")
        names[case_name(path)] = path
    return list(names.values())
