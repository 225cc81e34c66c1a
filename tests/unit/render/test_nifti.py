"""Label volumes as NIfTI."""

import gzip

import nibabel
import numpy as np
import pytest

from builders.results import Column, column_input
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.render.nifti import bodies_nifti, label_nifti_bytes


@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_voxels_lie_where_the_grid_says_in_ras(tilt: float) -> None:
    made = column_input(Column(names=("L1", "L2"), tilt_mm_per_slice=tilt))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(bodies_nifti(made)))
    i, j, k = 10, 20, 30
    ras = image.affine @ [i, j, k, 1]
    assert ras[:3] == pytest.approx(made.bodies.grid.to_lps([i, j, k]) * (-1, -1, 1), abs=1e-4)
    np.testing.assert_array_equal(np.asarray(image.dataobj), made.bodies.labels_zyx.transpose(2, 1, 0))
    assert LABEL_OF_LEVEL["L1"] in np.asarray(image.dataobj)


def test_same_labels_give_the_same_bytes() -> None:
    bodies = column_input(Column(names=("L1",))).bodies
    assert label_nifti_bytes(bodies) == label_nifti_bytes(bodies)
