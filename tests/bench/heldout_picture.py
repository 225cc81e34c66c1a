"""A picture of one held-out case: sagittal and coronal plane of the CT with true bodies (green) and found ones (red, named)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from trabecula_models.segmentation import SpineSegmentation
from trabecula_models.synthesis.whole_scan import WholeScan
from trabecula_morphometry.levels import SACRUM_LABEL

SCALE, WIDTH_MM = 2, 150
LOW_HU, HIGH_HU = -160, 600


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask, iterations=1, border_value=1)


def _plane(
    scan: WholeScan, found: NDArray[np.uint8], points: NDArray[np.float64], where: tuple[NDArray[np.int_], ...]
) -> NDArray[np.uint8]:
    hu = scan.volume.sample(points.reshape(-1, 3)).reshape(points.shape[:2])
    grey = np.clip((hu - LOW_HU) / (HIGH_HU - LOW_HU) * 255, 0, 255).astype(np.uint8)
    image = np.repeat(np.repeat(np.stack([grey] * 3, -1), SCALE, 0), SCALE, 1)
    for labels, colour in ((scan.bodies.labels_zyx[where], (0, 220, 0)), (found[where], (255, 60, 60))):
        large = np.repeat(np.repeat(labels, SCALE, 0), SCALE, 1)
        for label in np.unique(large[(large > 0) & (large != SACRUM_LABEL)]):
            image[_outline(large == label)] = colour
    return image


def write_picture(scan: WholeScan, found: SpineSegmentation | None, path: Path) -> None:
    """Write the picture; planes go through the column's median, 150 mm wide."""
    grid = scan.bodies.grid
    labels = found.bodies.resample(grid).labels_zyx if found else np.zeros_like(scan.bodies.labels_zyx)
    centre = np.median([level.center_lps_mm for level in scan.levels], axis=0)
    middle = np.rint(grid.to_voxel(centre[None])[0]).astype(int)
    z = np.arange(grid.shape_zyx[0])[::-1]
    panels = []
    for axis in (1, 0):
        across = np.clip(middle[axis] + np.arange(-WIDTH_MM // 2, WIDTH_MM // 2), 0, grid.shape_zyx[2 - axis] - 1)
        zz, aa = np.meshgrid(z, across, indexing="ij")
        fixed = np.full_like(zz, middle[1 - axis])
        voxels = np.stack([fixed, aa, zz] if axis == 1 else [aa, fixed, zz], -1)
        points = grid.to_lps(voxels.reshape(-1, 3)).reshape(voxels.shape)
        panels.append(_plane(scan, labels, points, (voxels[..., 2], voxels[..., 1], voxels[..., 0])))
    image = Image.fromarray(np.concatenate(panels, 1))
    draw = ImageDraw.Draw(image)
    for level in scan.levels:
        row = SCALE * (len(z) - 1 - grid.to_voxel(np.array([level.center_lps_mm]))[0][2])
        draw.text((4, row - 5), level.name, fill=(0, 220, 0))
    for vertebra in found.vertebrae if found else ():
        row = SCALE * (len(z) - 1 - grid.to_voxel(np.array([vertebra.center_lps_mm]))[0][2])
        draw.text((WIDTH_MM * SCALE - 30, row - 5), vertebra.name, fill=(255, 60, 60))
    image.save(path)
