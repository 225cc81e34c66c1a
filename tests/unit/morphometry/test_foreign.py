"""Metal and cement have a label of their own in the masks; bone, however dense, has not."""

import numpy as np

from trabecula_morphometry.foreign import mark_foreign
from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

SHAPE = (50, 60, 60)
BODY = (slice(10, 40), slice(10, 38), slice(12, 48))
INSIDE = (slice(20, 30), slice(18, 28), slice(24, 34))
GRID = Grid(shape_zyx=SHAPE, voxel_to_lps=np.eye(4))


def vertebra() -> tuple[np.ndarray, LabelVolume, LabelVolume]:
    hu = np.full(SHAPE, 40, dtype=np.int16)
    hu[BODY] = 900  # a sclerotic rim ...
    hu[12:38, 12:36, 14:46] = 150  # ... around cancellous bone
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[BODY] = LABEL_OF_LEVEL["L2"]
    return hu, LabelVolume(labels_zyx=labels, grid=GRID), LabelVolume(labels_zyx=np.zeros_like(labels), grid=GRID)


def marked(hu: np.ndarray, bodies: LabelVolume, posterior: LabelVolume) -> np.ndarray:
    return mark_foreign(Volume(hu_zyx=hu, grid=GRID), bodies, posterior).labels_zyx == FOREIGN_LABEL


def test_bone_alone_has_no_foreign_material() -> None:
    assert not marked(*vertebra()).any()


def test_cement_inside_a_body_is_marked_and_the_rest_of_the_body_keeps_its_name() -> None:
    hu, bodies, posterior = vertebra()
    hu[INSIDE] = 1400
    result = mark_foreign(Volume(hu_zyx=hu, grid=GRID), bodies, posterior).labels_zyx
    assert (result[INSIDE] == FOREIGN_LABEL).all()
    assert np.count_nonzero(result == FOREIGN_LABEL) == hu[INSIDE].size
    assert result[11, 15, 20] == LABEL_OF_LEVEL["L2"]


def test_a_screw_is_marked_from_the_body_to_its_head_behind_the_bone() -> None:
    hu, bodies, posterior = vertebra()
    hu[23:27, 20:42, 20:24] = 3071
    found = marked(hu, bodies, posterior)
    assert found[25, 21, 22]
    assert found[25, 41, 22]


def test_dense_contrast_far_from_bone_and_a_small_calcification_are_not_foreign() -> None:
    hu, bodies, posterior = vertebra()
    hu[20:30, 50:58, 20:30] = 3000
    hu[25:28, 20:23, 25:28] = 1500
    assert not marked(hu, bodies, posterior).any()
