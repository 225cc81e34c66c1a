"""Severe osteoporosis: bodies are found, named and outlined as well where their marrow is far darker than the discs between them.

Real CT whose marrow, 2 mm and more inside the bodies that a reader outlined, was made as dark as given; all else is as scanned.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from builders.real_ct import load_case
from trabecula_models.segment import SpineSegmenter
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import LabelVolume, Volume

SHELL_MM, EDGE_MM = 2.0, 0.7
"""What of a body stays as bright as it was, and how softly the darker marrow begins."""

DARK_HU = 0.0
"""Darker than any disc or muscle; a choice."""


def with_marrow_of(hu: float, volume: Volume, bodies: LabelVolume) -> Volume:
    """The volume with the marrow of these bodies moved to a median of ``hu``."""
    labels = bodies.resample(volume.grid).labels_zyx
    spacing_mm = volume.grid.spacing_xyz_mm[::-1]
    marrow = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels > 0]):
        marrow |= ndimage.distance_transform_edt(labels == label, sampling=spacing_mm) > SHELL_MM
    weight = ndimage.gaussian_filter(marrow.astype(np.float32), EDGE_MM / np.array(spacing_mm))
    darker = volume.hu_zyx - (np.median(volume.hu_zyx[marrow]) - hu) * weight
    return Volume(hu_zyx=np.rint(darker).astype(np.int16), grid=volume.grid)


@pytest.mark.real_ct
@pytest.mark.parametrize(("name", "least_dice"), [("ircadb1-01", 0.93), ("verse012", 0.85)])
def test_every_body_with_marrow_darker_than_its_discs_is_found_named_and_outlined(shared: Path, name: str, least_dice: float) -> None:
    case = load_case(shared / "ct", name)
    segmenter = SpineSegmenter()
    before, found = (segmenter.segment(volume) for volume in (case.volume, with_marrow_of(DARK_HU, case.volume, case.bodies)))
    assert before is not None
    assert found is not None
    assert [vertebra.name for vertebra in found.vertebrae] == [vertebra.name for vertebra in before.vertebrae]
    outlined = resample_masks((found.bodies, found.posterior), case.bodies.grid)[0].labels_zyx
    levels = [label for label in LABEL_OF_LEVEL.values() if (case.bodies.labels_zyx == label).any()]
    overlaps = [_dice(outlined == label, case.bodies.labels_zyx == label) for label in levels]
    assert float(np.mean(overlaps)) >= least_dice


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * int((one & other).sum()) / (int(one.sum()) + int(other.sum()))
