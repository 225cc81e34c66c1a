"""Whether sizes and values can be those of a human spine in Hounsfield units; if not, nothing is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trabecula_morphometry.codes import Code
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.norms import NORMS
from trabecula_morphometry.volume import Volume

HEIGHT_SHARE_LIMITS = (0.66, 1.45)
"""Height of the taller bodies (upper quartile) over the norm of the levels. Adults spread by 8 %."""

BREADTH_SHARE_LIMITS = (0.60, 1.60)
ASPECT_LIMITS = (0.62, 1.62)
"""Median of height share over breadth share: squashed or stretched slices change it, body size does not (spread about 12 %)."""

WIDEST_CERVICAL_MM = 36.0
"""Unverified: no table of cervical widths is at hand. Chosen between what a C7 body is thought to have (under 32 mm) and 41 mm of lumbar
bodies in the one squeezed real series, on which it was also tested; a real neck has not been measured against it."""

SOFT_TISSUE_LIMITS_HU = (-160.0, 190.0)
"""Median of the tissue beside and behind the canal: fat -120 to enhanced muscle 80, some lamina and rib among it."""

AIR_HU = -850.0
MIN_TISSUE_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Implausible:
    """Why nothing can be measured."""

    code: Code
    detail: str


def check_geometry(shapes: Mapping[str, BodyShape]) -> Implausible | None:
    """Sizes of the complete bodies against the norms, as medians over the column.

    A single odd level is a patient's; a median far off is a wrong slice distance or pixel spacing. Fewer than two bodies are judged by
    absolute size only, with the same limits.
    """
    cervical_mm = [shape.width_mm for name, shape in shapes.items() if name.startswith("C")]
    if cervical_mm and float(np.median(cervical_mm)) > WIDEST_CERVICAL_MM:
        detail = f"Bodies as close together as in the neck are {float(np.median(cervical_mm)):.0f} mm wide."
        return Implausible(code=Code.GEOMETRY_IMPLAUSIBLE, detail=detail)
    known = [(shape, NORMS[name]) for name, shape in shapes.items() if name in NORMS and np.isfinite(shape.height_mm)]
    if not known:
        return None
    # The taller quarter, not the median: in severe osteoporosis more than half of the bodies in view may be crushed.
    height = float(np.quantile([shape.height_mm / (norm.posterior_mm * norm.middle_to_posterior) for shape, norm in known], 0.75))
    depth = float(np.median([shape.depth_mm / norm.depth_mm for shape, norm in known]))
    width = float(np.median([shape.width_mm / norm.width_mm for shape, norm in known]))
    breadth = float(np.sqrt(depth * width))
    median_mm = float(np.median([shape.height_mm for shape, _ in known]))
    if not HEIGHT_SHARE_LIMITS[0] <= height <= HEIGHT_SHARE_LIMITS[1]:
        return Implausible(code=Code.GEOMETRY_IMPLAUSIBLE, detail=f"Bodies are {median_mm:.0f} mm high, {height:.0%} of normal.")
    if not all(BREADTH_SHARE_LIMITS[0] <= share <= BREADTH_SHARE_LIMITS[1] for share in (depth, width)):
        return Implausible(
            code=Code.GEOMETRY_IMPLAUSIBLE, detail=f"Bodies have {depth:.0%} of normal depth and {width:.0%} of normal width."
        )
    if not ASPECT_LIMITS[0] <= height / breadth <= ASPECT_LIMITS[1]:
        return Implausible(
            code=Code.GEOMETRY_IMPLAUSIBLE, detail=f"Bodies have {height:.0%} of normal height at {breadth:.0%} of normal depth and width."
        )
    return None


def check_attenuation(volume: Volume, shapes: Sequence[BodyShape]) -> Implausible | None:
    """Muscle and fat beside the posterior elements must lie between fat and enhanced muscle."""
    tissue = [_paraspinal_hu(volume, shape) for shape in shapes]
    values = np.concatenate(tissue) if tissue else np.empty(0)
    if values.size < 100:
        return None
    solid = values[values > AIR_HU]
    if solid.size < MIN_TISSUE_SHARE * values.size:
        return Implausible(code=Code.HU_IMPLAUSIBLE, detail="The tissue around the spine has the values of air.")
    median = float(np.median(solid))
    if not SOFT_TISSUE_LIMITS_HU[0] <= median <= SOFT_TISSUE_LIMITS_HU[1]:
        return Implausible(code=Code.HU_IMPLAUSIBLE, detail=f"Muscle and fat around the spine have a median of {median:.0f} HU.")
    return None


def _paraspinal_hu(volume: Volume, shape: BodyShape) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """HU of the erector spinae region on both sides, in the image only."""
    up = np.arange(-6.0, 7.0, 6.0)
    back = 0.5 * shape.depth_mm + np.arange(18.0, 46.0, 3.0)
    side = np.concatenate([np.arange(-45.0, -17.0, 3.0), np.arange(18.0, 46.0, 3.0)])
    points = shape.frame.to_lps(np.stack(np.meshgrid(up, back, side, indexing="ij"), axis=-1).reshape(-1, 3))
    return volume.sample(points[volume.grid.contains(points)])
