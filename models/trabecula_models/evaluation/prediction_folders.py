"""Predictions on disk: the product's own out-folders, or one label volume per case by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from trabecula_models.evaluation.case_names import case_name, is_nifti
from trabecula_models.evaluation.case_score import PredictedGrade, Prediction
from trabecula_models.evaluation.centroid_files import read_centroids
from trabecula_models.evaluation.identification import Point
from trabecula_models.evaluation.mask_files import read_mask
from trabecula_models.evaluation.overlap import VERTEBRA_LABELS, mask_centers_mm
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import LabelVolume

RESULT_FILE, BODIES_FILE, POSTERIOR_FILE = "result.json", "segmentation.nii.gz", "segmentation_posterior.nii.gz"
"""Names of the contract of ``trabecula analyze --out``."""


class Part(Enum):
    """What the reference's masks hold: whole vertebrae, or their bodies only."""

    VERTEBRA = "vertebra"
    BODY = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFiles:
    """Where the prediction of one case lies: an out-folder of the product, or a mask and perhaps a centroid file."""

    folder: Path | None = None
    mask: Path | None = None
    centroids: Path | None = None

    def read(self, part: Part = Part.VERTEBRA) -> Prediction:
        """Read the prediction; raises InputError where a file is damaged."""
        if self.folder is not None:
            return read_product_folder(self.folder, part)
        if self.mask is None:
            raise InputError("the prediction has no mask", where=self.centroids.name if self.centroids else "")
        masks = read_mask(self.mask)
        if self.centroids is None:
            return Prediction(masks=masks)
        return Prediction(masks=masks, centers_mm=read_centroids(self.centroids, masks.grid, mask_centers_mm(masks)).centers_mm)


def find_predictions(root: Path) -> dict[str, PredictionFiles]:
    """Every prediction under a folder, by case name.

    A folder that holds ``result.json`` is an out-folder of the product and gives its name to the case; every other NIfTI file is a mask,
    with the centroid file of the same case name beside it where there is one.

    Raises
    ------
    InputError : no prediction, or two masks of one case.
    """
    found = {folder.name: PredictionFiles(folder=folder) for folder in sorted(path.parent for path in root.rglob(RESULT_FILE))}
    folders = {files.folder for files in found.values()}
    others = [path for path in sorted(root.rglob("*")) if path.is_file() and folders.isdisjoint(path.parents)]
    centroids = {case_name(path): path for path in others if path.suffix == ".json" and "ctd" in path.stem.lower()}
    for path in others:
        if is_nifti(path):
            name = case_name(path)
            if name in found:
                raise InputError("two predictions of one case", where=name, hint="keep one label volume per case in the folder")
            found[name] = PredictionFiles(mask=path, centroids=centroids.get(name))
    if not found:
        raise InputError("no prediction found", where=root.name, hint="expected label volumes (NIfTI) or out-folders of trabecula analyze")
    return found


def read_product_folder(folder: Path, part: Part = Part.VERTEBRA) -> Prediction:
    """Read what ``trabecula analyze`` wrote: names and grades from the result, a whole vertebra as the union of body and arch.

    A study that could not be evaluated has no masks; its codes stand in the note.
    """
    try:
        result: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        status, levels = str(result["status"]), list(result["levels"])
        centers: dict[int, Point] = {}
        for level in levels:
            x, y, z = (float(value) for value in level["center_lps_mm"])
            centers[LABEL_OF_LEVEL[level["name"]]] = (x, y, z)
        grades = {level["name"]: _grade(level) for level in levels}
        density: dict[str, Any] = result["density"]
        mean, basis = density["mean_mg_cm3"], str(density["basis"])
        certain = bool(result["numbering"]["certain"])
        codes = sorted({flag["code"] for flag in result["flags"]})
        software = result["software"]
        made_by = f"trabecula {software['version']}, {software['backend']}, weights {str(software['weights_sha256'])[:12]}"
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError("the result cannot be read", where=f"{folder.name}/{RESULT_FILE}", hint="analyse the case again") from error
    if status == "not_evaluable":
        return Prediction(masks=None, note=f"not evaluable: {' '.join(codes)}")
    return Prediction(
        masks=_vertebrae(folder, part),
        centers_mm=centers,
        numbering_certain=certain,
        grades=grades,
        density_mg_cm3=None if mean is None else float(mean),
        density_basis=basis,
        made_by=made_by,
    )


def _grade(level: Mapping[str, Any]) -> PredictedGrade:
    genant = level["genant"]
    grade = genant["grade"]
    return PredictedGrade(grade=None if grade is None else int(grade), type=genant["type"], codes=tuple(level["excluded"]))


def _vertebrae(folder: Path, part: Part) -> LabelVolume:
    bodies = read_mask(folder / BODIES_FILE)
    is_vertebra = np.zeros(256, dtype=bool)
    is_vertebra[list(VERTEBRA_LABELS)] = True
    labels = np.where(is_vertebra[bodies.labels_zyx], bodies.labels_zyx, np.uint8(0))
    if part is Part.VERTEBRA:
        arches = read_mask(folder / POSTERIOR_FILE)
        if arches.grid.shape_zyx != bodies.grid.shape_zyx:
            raise InputError("the two masks of the result differ in shape", where=folder.name, hint="analyse the case again")
        empty = labels == 0
        labels[empty] = arches.labels_zyx[empty]
    return LabelVolume(labels_zyx=labels, grid=bodies.grid)
