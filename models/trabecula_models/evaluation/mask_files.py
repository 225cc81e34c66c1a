"""Label volumes from NIfTI files, turned from RAS+ to LPS millimetres."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.errors import GeometryError, InputError
from trabecula_morphometry.volume import Grid, LabelVolume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST_LABEL = 255


def read_mask(path: Path) -> LabelVolume:
    """Read a NIfTI file of integer labels on its own grid.

    Raises
    ------
    InputError : damaged, not three-dimensional, no place in space, or values that are no labels (fractions, below 0 or above 255).
    """
    try:
        image: Any = nibabel.load(path)
        values: NDArray[Any] = np.asarray(image.dataobj)
    except Exception as error:  # a damaged file may make nibabel, gzip or numpy raise anything
        raise InputError("the mask cannot be read", where=path.name, hint="it is cut, damaged or no NIfTI file") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise InputError("the mask is no volume of numbers", where=path.name, hint="give one label volume per case")
    with np.errstate(invalid="ignore"):  # NaN and infinity are caught by the comparison below
        labels = values.astype(np.uint8)
    if not np.array_equal(labels, values):
        hint = f"labels are whole numbers from 0 to {_LARGEST_LABEL}; a probability map or an instance map is no label volume"
        raise InputError("the mask holds values that are no labels", where=path.name, hint=hint)
    if int(image.header["sform_code"]) <= 0 and int(image.header["qform_code"]) <= 0:
        raise InputError("the mask does not say where its voxels lie", where=path.name, hint="write sform or qform")
    try:
        grid = Grid(shape_zyx=values.shape[::-1], voxel_to_lps=_RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64))
    except GeometryError as error:
        raise InputError("the mask's voxel grid has no volume", where=path.name, hint="its affine is singular") from error
    return LabelVolume(labels_zyx=np.ascontiguousarray(labels.transpose(2, 1, 0)), grid=grid)
