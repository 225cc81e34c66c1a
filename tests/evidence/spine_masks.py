"""Shapes of real spines (label volumes): ``norms`` measures the intact ones, ``fractured`` renders crushed ones as CT and grades them,
``split`` compares bodies split from whole vertebrae with those that a reader set apart.

    python -m evidence.spine_masks norms
    python -m evidence.spine_masks fractured
    python -m evidence.spine_masks split

The spines lie in ``$TRABECULA_SHARED/anatomy``; their bodies are split from the arches by the product's own synthesis. The rendering is
plain (bone with a bright shell, disc, muscle, blur, noise), so that the truth is the mask; networks are not asked.
"""

import sys
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from trabecula_models.synthesis.body_split import split_vertebrae
from trabecula_models.synthesis.spines import load_spine
from trabecula_morphometry.expected import LevelHeights, expected_heights
from trabecula_morphometry.frame import BodyShape, chain_tangents, fit_body, posterior_directions
from trabecula_morphometry.heights import SixPointsLps
from trabecula_morphometry.levels import LEVEL_OF_LABEL
from trabecula_morphometry.measure import ColumnMeasurement, measure_column
from trabecula_morphometry.norms import NORMS
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

INTACT = ("remus_vhm", "totalseg_s0224", "bdmap12_raw", "bdmap19_raw", "bdmap22_raw")
SET_APART = ("malekosh001", "remus_vhm")
"""Spines whose sources hold bodies and arches apart (a reader's subregions; meshes)."""

GRADES = {
    # Dataset's table (VerSe'19 appendix E1).
    "verse004": {"T9": 2, "T10": 2, "T11": 0, "T12": 0, "L1": 3, "L2": 0, "L3": 0},
    "verse010": {"L1": 3, "L2": 0, "L3": 0, "L4": 0, "L5": 0},
    "healthivert0007": {},
}


def spine_of(name: str) -> tuple[LabelVolume, LabelVolume, list[VertebraInput]]:
    """Bodies, arches and levels of one spine at 1 mm."""
    spine = load_spine(name, for_testing=True)
    grid = Grid(shape_zyx=spine.levels_zyx.shape, voxel_to_lps=np.eye(4))
    vertebra = (spine.levels_zyx >= 8) & (spine.levels_zyx <= 25)
    bodies = np.where(vertebra & spine.body_zyx, spine.levels_zyx, 0).astype(np.uint8)
    arches = np.where(vertebra & ~spine.body_zyx, spine.levels_zyx, 0).astype(np.uint8)
    found = [
        VertebraInput(name=LEVEL_OF_LABEL[label], label=label, center_lps_mm=tuple(float(c) for c in frame.centre[::-1]))
        for label, frame in sorted(spine.frames.items())
        if label in LEVEL_OF_LABEL and 8 <= label <= 25
    ]
    return LabelVolume(labels_zyx=bodies, grid=grid), LabelVolume(labels_zyx=arches, grid=grid), found


def shapes_of(bodies: LabelVolume, arches: LabelVolume, found: list[VertebraInput]) -> dict[str, BodyShape]:
    tangents = chain_tangents(found)
    backs = posterior_directions(found, tangents, arches)
    fitted = {v.name: fit_body(bodies, v, up, back) for v, up, back in zip(found, tangents, backs, strict=True)}
    return {name: shape for name, shape in fitted.items() if shape is not None}


def mask_heights_mm(shape: BodyShape, middle_mm: float = 0.0) -> np.ndarray:
    """Heights of the mask itself: 2 mm inside the walls and in the middle, median over the central 10 mm and 3 mm of depth.

    ``middle_mm`` is how far behind the frame's origin the middle is taken.
    """
    central = np.abs(shape.left_mm) <= 5
    height = shape.top_mm - shape.bottom_mm
    half = 0.5 * shape.depth_mm
    places = [np.abs(shape.posterior_mm - place) <= 1.5 for place in (-half + 2.5, middle_mm, half - 2.5)]
    return np.array([np.nanmedian(height[rows][:, central]) for rows in places])


def render(bodies: LabelVolume, arches: LabelVolume, seed: int = 7) -> Volume:
    """A CT of the spine in muscle: shell of 0.75 mm and 1400 HU, trabecular bone of 90 HU, blur of 0.6 mm, noise of 15 HU."""
    bone = (bodies.labels_zyx > 0) | (arches.labels_zyx > 0)
    fine = ndimage.zoom(bone.astype(np.float32), 2, order=1, grid_mode=True, mode="nearest")
    inside = ndimage.gaussian_filter(fine, 1.0) >= 0.5
    # The outermost voxels of 0.5 mm and those that touch them, corners included: 0.75 mm.
    core = ndimage.minimum_filter(inside, size=3)
    hu = np.where(core, 90.0, np.where(inside, 1400.0, 60.0)).astype(np.float32)
    hu = ndimage.gaussian_filter(hu, 0.6 / 0.5)
    coarse = hu.reshape(bone.shape[0], 2, bone.shape[1], 2, bone.shape[2], 2).mean(axis=(1, 3, 5))
    coarse += ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 45, bone.shape), 0.7)
    return Volume(hu_zyx=np.rint(coarse).astype(np.int16), grid=bodies.grid)


def norms() -> None:
    """Print shape ratios of the intact spines per level beside the norms in use."""
    per_level: dict[str, list[np.ndarray]] = {}
    for name in INTACT:
        bodies, arches, found = spine_of(name)
        for level, shape in shapes_of(bodies, arches, found).items():
            heights = mask_heights_mm(shape)
            if np.isfinite(heights).all():
                per_level.setdefault(level, []).append(np.array([heights[0] / heights[2], heights[1] / heights[2], heights[2]]))
    sys.stdout.write("level   n   Ha/Hp measured (norm)   Hm/Hp measured (norm)   Hp mm (norm)\n")
    for level, norm in NORMS.items():
        if level in per_level:
            a, m, p = np.median(per_level[level], axis=0)
            sys.stdout.write(
                f"{level:5} {len(per_level[level]):3}   {a:.3f} ({norm.anterior_to_posterior:.3f})"
                f"   {m:.3f} ({norm.middle_to_posterior:.3f})   {p:.1f} ({norm.posterior_mm:.1f})\n"
            )


@dataclass(frozen=True)
class RenderedSpine:
    """A rendered spine measured with its own masks: the shapes of the masks, and what was measured."""

    shapes: dict[str, BodyShape]
    measured: ColumnMeasurement

    def mask_heights_mm(self) -> dict[str, np.ndarray]:
        """Heights of the masks themselves, the middle where it was measured: that of a collapsed body may lie off mid depth."""
        middles = {level.name: level.heights.points_lps_mm for level in self.measured.levels if level.heights is not None}
        return {
            level: mask_heights_mm(shape, middle_depth_mm(shape, middles[level]) if level in middles else 0.0)
            for level, shape in self.shapes.items()
        }

    def departures_mm(self) -> list[float]:
        """How far each of the six points of every level lies outside (+) or inside (-) the mask's endplate at the same depth."""
        return [
            departure
            for level in self.measured.levels
            if level.heights is not None
            for departure in point_departures_mm(self.shapes[level.name], level.heights.points_lps_mm)
        ]

    def grade(self, name: str) -> int | None:
        """Grade of a level, None where it was not graded."""
        found = next(level for level in self.measured.levels if level.name == name)
        return found.genant.grade if found.genant else None


def middle_depth_mm(shape: BodyShape, points: SixPointsLps) -> float:
    """How far behind the frame's origin the two middle points lie."""
    pair = np.array([points.middle_superior, points.middle_inferior])
    return float(shape.frame.to_frame(pair)[:, 1].mean())


def point_departures_mm(shape: BodyShape, points: SixPointsLps) -> list[float]:
    """Distance of six points from the surface of the mask along the superior axis, median over the central 10 mm, outwards positive."""
    central = np.abs(shape.left_mm) <= 5
    departures = []
    for end, surface, outward in (("superior", shape.top_mm, 1), ("inferior", shape.bottom_mm, -1)):
        for place in ("anterior", "middle", "posterior"):
            up, back, _ = shape.frame.to_frame(np.array(getattr(points, f"{place}_{end}")))
            near = np.abs(shape.posterior_mm - back) <= 1.5
            departures.append(outward * float(up - np.nanmedian(surface[near][:, central])))
    return departures


def measure(name: str) -> RenderedSpine:
    """One spine as CT of 1 mm, measured with its own masks."""
    bodies, arches, found = spine_of(name)
    measured = measure_column(render(bodies, arches), bodies, arches, found, slice_spacing_mm=1.0, age_years=75)
    return RenderedSpine(shapes=shapes_of(bodies, arches, found), measured=measured)


def mask_losses(heights: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest loss per level when the mask's own heights are compared the same way."""
    levels = [
        LevelHeights(name=n, heights_mm=tuple(h), sd_mm=(0.3, 0.3, 0.3)) for n, h in heights.items() if n in NORMS and np.isfinite(h).all()
    ]
    expected = expected_heights(levels)
    return {
        level.name: float((1 - np.array(level.heights_mm) / of.heights_mm).max())
        for level in levels
        if (of := expected.get(level.name)) is not None
    }


def fractured() -> None:
    """Print heights, losses and grades of the fractured spines."""
    for name, table in GRADES.items():
        spine = measure(name)
        heights = spine.mask_heights_mm()
        losses = mask_losses(heights)
        for level in spine.measured.levels:
            own = heights.get(level.name)
            error = (level.heights.heights_mm.as_array() - own).round(1).tolist() if level.heights is not None and own is not None else None
            grade = level.genant.grade if level.genant else None
            loss = f"{level.loss.max:.2f}" if level.loss else "-"
            kind = level.genant.type if level.genant else ""
            sys.stdout.write(
                f"{name:16} {level.name:4} table {table.get(level.name, '-')}  grade {grade} {kind}  loss {loss}"
                f"  of the mask {losses.get(level.name, float('nan')):.2f}  height - mask mm {error}  {[str(c) for c in level.excluded]}\n"
            )
        away = np.array(spine.departures_mm())
        within = np.mean(np.abs(away) <= 1)
        sys.stdout.write(f"{name:16} {away.size} points: {away.mean():+.2f} mm outside the mask on average, {within:.0%} within 1 mm\n")


def split_dice(name: str) -> dict[str, float]:
    """Dice of each thoracic and lumbar body split from its whole vertebra against the body that its source sets apart."""
    spine = load_spine(name)
    vertebrae = np.where((spine.levels_zyx >= 7) & (spine.levels_zyx <= 25), spine.levels_zyx, 0).astype(np.uint8)
    split, _ = split_vertebrae(vertebrae)
    scores = {}
    for label in sorted(spine.frames):
        body, found = spine.body_zyx & (vertebrae == label), split & (vertebrae == label)
        scores[LEVEL_OF_LABEL[label]] = 2 * float((body & found).sum()) / float(body.sum() + found.sum())
    return scores


def split() -> None:
    """Print how well bodies are split from whole vertebrae where a source knows both."""
    for name in SET_APART:
        scores = split_dice(name)
        levels = "  ".join(f"{level} {score:.3f}" for level, score in scores.items())
        sys.stdout.write(f"{name:12} mean {np.mean(list(scores.values())):.4f}, least {min(scores.values()):.3f}:  {levels}\n")


if __name__ == "__main__":
    {"norms": norms, "fractured": fractured, "split": split}[sys.argv[1] if len(sys.argv) > 1 else "fractured"]()
