"""Reading a phantom scan: find the phantom, settle its pose, check its geometry, and measure its inserts clear of every edge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from trabecula_calibration.phantom_definition import Geometry, Insert, PhantomDefinition
from trabecula_calibration.phantom_fit import InsertReading, PhantomLine, fit_phantom_line, reasons_to_refuse
from trabecula_calibration.phantom_pose import PhantomPose, disc_points, insert_points, stations_of
from trabecula_calibration.phantom_search import expected_hu, search_phantom
from trabecula_calibration.phantom_stack import settle_stack
from trabecula_morphometry.volume import Volume

EDGE_MARGIN_MM = 2.5
"""Kept clear of an insert's wall: a soft kernel blurs over 2 mm, a sharp one overshoots within 1.5 mm."""

WALL_MM = 2.0
"""The wall of a spine phantom's body is ten times denser than its inside: so much more is kept clear of it."""

END_MARGIN_MM = 4.0
"""Kept clear of the phantom's ends, besides half a slice."""

MIN_LENGTH_MM = 8.0
"""Less of a rod than this cannot be told from something else, and averages too little noise."""

MIN_CONTRAST_HU = 40.0
"""An insert that stands out less than this from what surrounds it shows neither its place nor its diameter."""

SCALE_PULL_HU2 = 200.0
MAX_MISPLACED_MM = 2.5
CERTIFIED_RADIUS_TOLERANCE = 0.15
APPROXIMATE_SCALE = (0.65, 1.35)
MAX_TILT_DEG = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomReading:
    """A phantom scan that was read.

    ``reasons`` empty: the line may become an entry. ``misplaced_mm`` is how far each insert that can be seen lies from its place.
    """

    definition: PhantomDefinition
    pose: PhantomPose
    radius_mm: float
    length_mm: tuple[float, float]
    inserts: Mapping[str, InsertReading]
    misplaced_mm: Mapping[str, float]
    line: PhantomLine
    reasons: tuple[str, ...]

    @property
    def noise_hu(self) -> float:
        """Median SD of the voxels inside an insert."""
        return float(np.median([reading.sd_hu for reading in self.inserts.values()]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomNotSeen:
    """No phantom could be read; ``reasons`` say why."""

    reasons: tuple[str, ...]


def read_phantom_scan(volume: Volume, definition: PhantomDefinition, tube_voltage_kvp: float) -> PhantomReading | PhantomNotSeen:
    """Find a phantom in a CT, measure its inserts and fit its line.

    Parameters
    ----------
    volume : the scan, with or without a patient on top.
    definition : the phantom that was scanned.
    tube_voltage_kvp : of the scan; it says what attenuation to look for.
    """
    rough = search_phantom(volume, definition, tube_voltage_kvp)
    if rough is None:
        return PhantomNotSeen(
            reasons=(f"no {definition.title} was found: wrong phantom, outside the field of view, or moved during the scan",)
        )
    expected = expected_hu(definition, tube_voltage_kvp)
    # Air beside a thin phantom must not outweigh the inserts when edges are sought.
    clip = (float(expected.min()) - 150.0, float(expected.max()) * 1.25 + 150.0)
    ratio = 1.0
    if definition.stacked:
        # A spine phantom's bodies have a wall that would be taken for their edge: there the definition's radius stands.
        pose = settle_stack(volume, definition, rough, expected)
    else:
        pose = _settle(volume, definition, rough, expected, ratio, rough_steps=True)
        ratio = _radius_ratio(volume, definition, pose, clip)
        pose = _settle(volume, definition, pose, expected, ratio, rough_steps=False)
    extent = _extent(volume, definition, pose, ratio)
    if extent is None:
        return PhantomNotSeen(reasons=(f"less than {MIN_LENGTH_MM:g} mm of the {definition.title} can be read: cut or moved",))
    readings = {
        insert.name: reading for insert, reading in zip(definition.inserts, _readings(volume, definition, pose, extent, ratio), strict=True)
    }
    misplaced = _misplaced(volume, definition, pose, extent, clip, ratio)
    line = fit_phantom_line(definition, readings)
    return PhantomReading(
        definition=definition,
        pose=pose,
        radius_mm=ratio * definition.inserts[0].radius_mm,
        length_mm=extent,
        inserts=readings,
        misplaced_mm=misplaced,
        line=line,
        reasons=(*_geometry_reasons(definition, pose, ratio, misplaced), *reasons_to_refuse(line, tube_voltage_kvp)),
    )


def _sample(volume: Volume, points: NDArray[np.float64], clip: tuple[float, float]) -> NDArray[np.float64]:
    return np.clip(volume.sample(points).astype(np.float64), *clip)


def _probe_stations(volume: Volume, pose: PhantomPose) -> tuple[float, float]:
    """A stretch around the middle that is safely phantom: 60 mm, or what the volume holds."""
    low, high = volume.grid.bounds_lps_mm()
    middle = pose.origin_lps_mm[2]
    half = max(min(30.0, middle - low[2], high[2] - middle), 0.0)
    return -half, half


def _settle(
    volume: Volume, definition: PhantomDefinition, pose: PhantomPose, expected: NDArray[np.float64], ratio: float, *, rough_steps: bool
) -> PhantomPose:
    """The pose at which every rod is as even as can be inside its wall."""
    free = definition.geometry is Geometry.APPROXIMATE
    reach = _probe_stations(volume, pose)
    clip = (float(expected.min()) - 150.0, float(expected.max()) * 1.25 + 150.0)
    discs = [disc_points(0.95 * ratio * insert.radius_mm, 2.0) for insert in definition.inserts]

    def posed(values: NDArray[np.float64]) -> PhantomPose:
        x, y, z = pose.origin_lps_mm
        return replace(
            pose,
            origin_lps_mm=(x + values[0], y + values[1], z),
            angle_deg=pose.angle_deg + values[2],
            lean_x=pose.lean_x + values[3] / 50.0,
            lean_y=pose.lean_y + values[4] / 50.0,
            scale=pose.scale * (1.0 + values[5] / 50.0) if free else pose.scale,
        )

    def unevenness(values: NDArray[np.float64]) -> float:
        trial, total = posed(values), 0.0
        for insert, disc in zip(definition.inserts, discs, strict=True):
            along = stations_of(definition, trial, insert, reach)[::6]
            # Within each station, so that a slow change along the rod does not count.
            total += float(_sample(volume, insert_points(trial, insert, disc, along), clip).var(axis=1).mean())
        # The pulls keep in its place what nothing shows: the lean in a single slice, the distance of an insert like its surroundings.
        return total + 1e-3 * float((values**2).sum()) + SCALE_PULL_HU2 * float(np.log(max(trial.scale, 0.1)) ** 2)

    size = 3.0 if rough_steps else 0.7
    simplex = np.vstack([np.zeros(6), np.diag([size, size, size, size, size, size if free else 1e-3])])
    found = optimize.minimize(
        unevenness, np.zeros(6), method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 200, "xatol": 0.03, "fatol": 0.1}
    )
    return posed(found.x)


def _radius_ratio(volume: Volume, definition: PhantomDefinition, pose: PhantomPose, clip: tuple[float, float]) -> float:
    """Radius of the inserts against the definition's, from the steepest fall of their radial profiles; 1 where nothing shows it."""
    reach = _probe_stations(volume, pose)
    ratios = []
    for insert in definition.inserts:
        radii = np.arange(0.4, 1.7, 0.04) * insert.radius_mm
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        plane = (radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None]).reshape(-1, 2)
        along = stations_of(definition, pose, insert, reach)
        profile = _sample(volume, insert_points(pose, insert, plane, along), clip).mean(axis=0).reshape(len(radii), -1)
        # The median over directions leaves out those where a neighbour or the phantom's own outside is near.
        middle = np.median(profile, axis=1)
        fall = np.abs(np.gradient(middle))
        inside, outside = middle[:4].mean(), middle[-6:].mean()
        if abs(inside - outside) >= MIN_CONTRAST_HU:
            ratios.append(radii[int(fall.argmax())] / insert.radius_mm)
    return float(np.clip(np.median(ratios), 0.5, 1.6)) if ratios else 1.0


def _extent(volume: Volume, definition: PhantomDefinition, pose: PhantomPose, ratio: float) -> tuple[float, float] | None:
    """Part of the phantom's length in which every rod reads as in its middle, clear of the ends; along the phantom's own axis."""
    low, high = volume.grid.bounds_lps_mm()
    thickness = volume.grid.slice_spacing_mm
    if definition.stacked:
        lengths = [abs(insert.center_mm[2] * pose.scale) + 10.0 for insert in definition.inserts]
        inside = all(bool(volume.grid.contains(pose.to_lps(pose.insert_center(insert)))) for insert in definition.inserts)
        return (-max(lengths), max(lengths)) if inside else None
    span = float(high[2] - low[2]) + thickness
    along = np.arange(-span, span + 1e-6, 2.0)
    good = np.ones(len(along), dtype=bool)
    for insert in definition.inserts:
        points = insert_points(pose, insert, disc_points(_safe_radius(insert.radius_mm * ratio, pose, thickness), 1.5), along)
        held = volume.grid.contains(points).all(axis=1)
        hu = volume.sample(points).astype(np.float64)
        mean, sd = hu.mean(axis=1), hu.std(axis=1)
        core = held & (np.abs(along) <= 15.0)
        if not core.any():
            return None
        normal = float(np.median(mean[core]))
        tolerance = max(8.0, 0.04 * abs(normal), 3.0 * float(np.median(sd[core])) / 4.0)
        good &= held & (np.abs(mean - normal) <= tolerance)
    middle = int(np.abs(along).argmin())
    if not good[middle]:
        near = np.flatnonzero(good & (np.abs(along) <= 10.0))
        if len(near) == 0:
            return None
        middle = int(near[np.abs(along[near]).argmin()])
    first, last = middle, middle
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(along) - 1 and good[last + 1]:
        last += 1
    # A face of the volume is not an end of the phantom: only the ends need the margin, but they cannot be told apart in thick slices.
    margin = END_MARGIN_MM + 0.5 * thickness
    start, stop = float(along[first]), float(along[last])
    if stop - start > MIN_LENGTH_MM + 2 * margin:
        start, stop = start + margin, stop - margin
    return (start, stop) if stop - start + thickness >= MIN_LENGTH_MM else None


def _safe_radius(radius_mm: float, pose: PhantomPose, slice_spacing_mm: float) -> float:
    """Radius that stays clear of the wall in a tilted, thick slice."""
    lean = np.hypot(pose.lean_x, pose.lean_y)
    return float(max(radius_mm - EDGE_MARGIN_MM - 0.5 * lean * slice_spacing_mm, 0.4 * radius_mm))


def _readings(
    volume: Volume, definition: PhantomDefinition, pose: PhantomPose, extent: tuple[float, float], ratio: float
) -> list[InsertReading]:
    """Mean and noise of each insert from the voxels themselves (nearest, not interpolated)."""
    spacing = volume.grid.spacing_xyz_mm
    found = []
    for insert in definition.inserts:
        radius = _safe_radius(insert.radius_mm * ratio, pose, volume.grid.slice_spacing_mm) - (WALL_MM if definition.stacked else 0.0)
        along = stations_of(definition, pose, insert, extent)
        points = insert_points(pose, insert, disc_points(radius, 0.5), along)
        hu = volume.sample(points, order=0).astype(np.float64)
        length = float(along[-1] - along[0]) + min(2.0, volume.grid.slice_spacing_mm)
        # Neighbouring pixels share noise over about 1.5 mm, and a slice is one reading however finely it is sampled.
        cell = max(float(spacing[0] * spacing[1]), 2.25) * max(volume.grid.slice_spacing_mm, 1.0)
        found.append(
            InsertReading(
                name=insert.name,
                mean_hu=float(hu.mean()),
                sd_hu=float(hu.std()),
                independent_count=max(np.pi * radius**2 * length / cell, 1.0),
            )
        )
    return found


def _misplaced(
    volume: Volume, definition: PhantomDefinition, pose: PhantomPose, extent: tuple[float, float], clip: tuple[float, float], ratio: float
) -> dict[str, float]:
    """How far from its place each insert is most even, for those that stand out from their surroundings."""
    found = {}
    for insert in definition.inserts:
        radius = insert.radius_mm * ratio
        along = stations_of(definition, pose, insert, extent)[::3]
        disc, ring = disc_points((0.85 if definition.stacked else 0.97) * radius, 1.0), disc_points(1.5 * radius, 1.0, 1.15 * radius)
        inside = _sample(volume, insert_points(pose, insert, disc, along), clip).mean()
        outside = np.median(_sample(volume, insert_points(pose, insert, ring, along), clip))
        if abs(inside - outside) >= MIN_CONTRAST_HU:
            found[insert.name] = float(np.hypot(*_best_shift(partial(_unevenness_at, volume, pose, insert, disc, along, clip))))
    return found


def _unevenness_at(
    volume: Volume,
    pose: PhantomPose,
    insert: Insert,
    plane: NDArray[np.float64],
    along: NDArray[np.float64],
    clip: tuple[float, float],
    shift: NDArray[np.float64],
) -> float:
    return float(_sample(volume, insert_points(pose, insert, plane + shift, along), clip).var(axis=1).mean())


def _best_shift(cost: Callable[[NDArray[np.float64]], float]) -> NDArray[np.float64]:
    found = optimize.minimize(
        cost, np.zeros(2), method="Nelder-Mead", options={"initial_simplex": np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]]), "maxfev": 60}
    )
    return np.asarray(found.x)


def _geometry_reasons(definition: PhantomDefinition, pose: PhantomPose, ratio: float, misplaced: Mapping[str, float]) -> list[str]:
    reasons = []
    for name, apart in misplaced.items():
        if apart > MAX_MISPLACED_MM:
            reasons.append(
                f"insert {name} lies {apart:.1f} mm from its place, more than {MAX_MISPLACED_MM:g}: not this phantom, or damaged"
            )
    if definition.geometry is Geometry.CERTIFIED and abs(ratio - 1.0) > CERTIFIED_RADIUS_TOLERANCE:
        reasons.append(f"the inserts' diameter is {ratio:.0%} of the certificate's: not this phantom, or the pixel spacing is wrong")
    if not APPROXIMATE_SCALE[0] <= pose.scale <= APPROXIMATE_SCALE[1]:
        reasons.append(f"the distances between inserts are {pose.scale:.0%} of this phantom's")
    if pose.tilt_deg > MAX_TILT_DEG:
        reasons.append(f"the phantom is tilted by {pose.tilt_deg:.0f} degrees, more than {MAX_TILT_DEG:g}: lay it along the table")
    if not misplaced:
        reasons.append("no insert stands out from its surroundings, so the geometry cannot be checked")
    return reasons
