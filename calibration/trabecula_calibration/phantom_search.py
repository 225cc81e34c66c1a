"""Finding a phantom in a CT without clicking: discs of the expected attenuations in the expected pattern, agreeing from slab to slab."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_calibration.phantom_definition import Geometry, PhantomDefinition
from trabecula_calibration.phantom_fit import insert_hu
from trabecula_calibration.phantom_pose import PhantomPose
from trabecula_calibration.physics import physics_slope
from trabecula_morphometry.volume import Volume

PIXEL_MM = 2.0
SLAB_MM = 6.0
MAX_SLABS = 9
ANGLE_STEP_DEG = 5.0
SCALES = (0.7, 0.78, 0.86, 0.93, 1.0, 1.08, 1.17, 1.27)
"""Scales tried for phantoms whose drawing is not published: a pitch of 40 mm may be 28 to 51 mm."""

DISC_SHARE = 0.55
"""Radius of the disc that is averaged, as a share of the insert's: forgives a place that is 3 mm off."""

HU_TOLERANCE = 25.0
RELATIVE_TOLERANCE = 0.2
"""An insert may read so far from what physics expects: HU of water, and the slope's own gate of 20 %."""

SCALE_COST = 0.1
"""Of two scales that fit alike the nearer to the drawing is taken: an insert that does not stand out cannot tell them apart."""

MAX_COST = 0.75
CANDIDATES_PER_SLAB = 4
SUPPORT_MM = 8.0
MAX_LEAN = 0.27
"""15 degrees: a phantom that lies more askew was not laid on the table for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    x_mm: float
    y_mm: float
    z_mm: float
    angle_deg: float
    scale: float
    turned: bool
    cost: float


def expected_hu(definition: PhantomDefinition, tube_voltage_kvp: float) -> NDArray[np.float64]:
    """What physics expects of each insert; 120 kVp's slope outside 80-140, where no fit is accepted anyway."""
    slope = physics_slope(tube_voltage_kvp, definition.material) or physics_slope(120.0, definition.material) or 1.0
    return np.array([insert_hu(definition, insert, 1.0 / slope, 0.0) for insert in definition.inserts])


def search_phantom(volume: Volume, definition: PhantomDefinition, tube_voltage_kvp: float) -> PhantomPose | None:
    """Rough pose of a phantom, a few millimetres and degrees; None where it is not seen.

    Parameters
    ----------
    volume : the CT; its slices may be oblique, the phantom lies within 15 degrees of the patient's long axis.
    """
    expected = expected_hu(definition, tube_voltage_kvp)
    slabs = _slabs(volume, definition)
    if definition.stacked:
        found = _search_stack(slabs, definition, expected)
        return _pose_of([found], found) if found is not None and found.cost < MAX_COST else None
    ways = _ways(definition)
    candidates = [candidate for slab in slabs for candidate in _search_slab(slab, ways, expected)]
    best = max(candidates, key=lambda candidate: _support(candidate, candidates), default=None)
    if best is None:
        return None
    members = _members(best, candidates)
    if len({round(member.z_mm, 3) for member in members}) < min(2, len(slabs)):
        return None
    return _pose_of(members, best)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Slab:
    """Disc means and unevenness on a grid of ``PIXEL_MM`` in the LPS plane at ``z_mm``; [y, x]."""

    mean_yx: NDArray[np.float64]
    uneven_yx: NDArray[np.float64]
    x0_mm: float
    y0_mm: float
    z_mm: float


def _slabs(volume: Volume, definition: PhantomDefinition) -> list[_Slab]:
    low, high = volume.grid.bounds_lps_mm()
    step = max(SLAB_MM if definition.stacked else 8.0, volume.grid.slice_spacing_mm)
    count = max(int((high[2] - low[2]) // step), 1)
    z_places = low[2] + (np.arange(count) + 0.5) * (high[2] - low[2]) / count
    if not definition.stacked and count > MAX_SLABS:
        z_places = z_places[np.linspace(0, count - 1, MAX_SLABS).round().astype(int)]
    radius = DISC_SHARE * min(insert.radius_mm for insert in definition.inserts)
    x, y = np.arange(low[0], high[0], PIXEL_MM), np.arange(low[1], high[1], PIXEL_MM)
    return [_slab(volume, x, y, float(z), radius) for z in z_places]


def _slab(volume: Volume, x: NDArray[np.float64], y: NDArray[np.float64], z: float, radius_mm: float) -> _Slab:
    points = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None], z + np.array([-2.0, 0.0, 2.0])), axis=-1)
    hu = np.clip(volume.sample(points).mean(axis=-1).astype(np.float64), -300.0, 2000.0)
    reach = int(np.ceil(radius_mm / PIXEL_MM))
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1] * PIXEL_MM
    disc = (np.hypot(u, v) <= radius_mm).astype(np.float64)
    disc /= disc.sum()
    mean = ndimage.convolve(hu, disc, mode="nearest")
    uneven = np.sqrt(np.maximum(ndimage.convolve(hu * hu, disc, mode="nearest") - mean * mean, 0.0))
    return _Slab(mean_yx=mean, uneven_yx=uneven, x0_mm=float(x[0]), y0_mm=float(y[0]), z_mm=z)


def _costs(slab: _Slab, expected: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Per insert: how badly the disc at each place fits its attenuation; 0 perfect, 1.5 at most."""
    # Noise of the slab, from its quietest places: an insert is as even as that.
    noise = max(float(np.percentile(slab.uneven_yx[slab.mean_yx > -200.0], 10)) if (slab.mean_yx > -200.0).any() else 1.0, 4.0)
    uneven = np.clip(slab.uneven_yx / noise / 3.0 - 1.0, 0.0, 1.0)
    return [
        np.minimum(np.abs(slab.mean_yx - hu) / (HU_TOLERANCE + RELATIVE_TOLERANCE * abs(hu)) + 0.5 * uneven, 1.5).astype(np.float32)
        for hu in expected
    ]


def _orientations(definition: PhantomDefinition) -> list[tuple[float, float, bool]]:
    """Angle, scale and end-for-end to try."""
    scales = SCALES if definition.geometry is Geometry.APPROXIMATE else (1.0,)
    if definition.stacked:
        return [(0.0, scale, turned) for scale in scales for turned in (False, True)]
    # A row that is turned end for end is a row turned by 180 degrees.
    flat = all(abs(insert.center_mm[1]) < 1e-6 for insert in definition.inserts)
    turns = (False,) if flat else (False, True)
    return [(angle, scale, turned) for angle in np.arange(0.0, 360.0, ANGLE_STEP_DEG) for scale in scales for turned in turns]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Way:
    """One way a phantom can lie, and where its inserts are then: (n, 2) steps of x and y from its middle, in pixels."""

    angle_deg: float
    scale: float
    turned: bool
    shifts_xy: NDArray[np.float64]


def _ways(definition: PhantomDefinition) -> list[_Way]:
    centers = np.array([insert.center_mm for insert in definition.inserts])
    ways = []
    for angle, scale, turned in _orientations(definition):
        pose = PhantomPose(origin_lps_mm=(0.0, 0.0, 0.0), angle_deg=angle, turned=turned)
        shifts = pose.to_lps(centers * scale)[:, :2] / PIXEL_MM
        ways.append(_Way(angle_deg=float(angle), scale=scale, turned=turned, shifts_xy=shifts))
    return ways


def _search_slab(slab: _Slab, ways: Sequence[_Way], expected: NDArray[np.float64]) -> list[_Candidate]:
    """Best place per orientation, tried only where the insert that stands out most can be."""
    costs = np.stack(_costs(slab, expected))
    anchor = int(np.abs(expected).argmax())
    rows, columns = np.nonzero(costs[anchor] < 1.0)
    if len(rows) == 0:
        return []
    found = []
    # A border of the worst cost, so that inserts outside the image need no special care.
    border = int(max(np.abs(way.shifts_xy - way.shifts_xy[anchor]).max() for way in ways)) + 2
    padded = np.pad(costs, ((0, 0), (border, border), (border, border)), constant_values=1.5)
    which = np.arange(len(costs))[:, None]
    for way in ways:
        steps = np.rint(way.shifts_xy - way.shifts_xy[anchor]).astype(int) + border
        at = padded[which, rows + steps[:, 1:], columns + steps[:, :1]]
        total = at.mean(axis=0) + SCALE_COST * abs(np.log(way.scale))
        best = int(total.argmin())
        if total[best] < MAX_COST:
            x, y = slab.x0_mm + columns[best] * PIXEL_MM, slab.y0_mm + rows[best] * PIXEL_MM
            found.append(
                _Candidate(
                    x_mm=float(x - way.shifts_xy[anchor, 0] * PIXEL_MM),
                    y_mm=float(y - way.shifts_xy[anchor, 1] * PIXEL_MM),
                    z_mm=slab.z_mm,
                    angle_deg=way.angle_deg,
                    scale=way.scale,
                    turned=way.turned,
                    cost=float(total[best]),
                )
            )
    return sorted(found, key=lambda candidate: candidate.cost)[:CANDIDATES_PER_SLAB]


def _search_stack(slabs: Sequence[_Slab], definition: PhantomDefinition, expected: NDArray[np.float64]) -> _Candidate | None:
    """Inserts one behind the other: the best place over all slabs, the inserts' slabs taken together."""
    # A tilted stack walks across the slabs: each insert may lie up to 6 mm from the middle one.
    costs = [[ndimage.minimum_filter(cost, 7) for cost in _costs(slab, expected)] for slab in slabs]
    z = np.array([slab.z_mm for slab in slabs])
    best: _Candidate | None = None
    for _, scale, turned in _orientations(definition):
        offsets = np.array([insert.center_mm[2] for insert in definition.inserts]) * scale * (-1.0 if turned else 1.0)
        for z_mm in np.arange(z[0], z[-1], 3.0):
            planes = [int(np.abs(z - (z_mm + offset)).argmin()) for offset in offsets]
            if any(abs(z[plane] - (z_mm + offset)) > SLAB_MM for plane, offset in zip(planes, offsets, strict=True)):
                continue
            total = np.mean([costs[plane][i] for i, plane in enumerate(planes)], axis=0)
            row, column = divmod(int(total.argmin()), total.shape[1])
            if best is None or total[row, column] < best.cost:
                x, y = slabs[0].x0_mm + column * PIXEL_MM, slabs[0].y0_mm + row * PIXEL_MM
                best = _Candidate(
                    x_mm=x, y_mm=y, z_mm=float(z_mm), angle_deg=0.0, scale=scale, turned=turned, cost=float(total[row, column])
                )
    return best


def _members(of: _Candidate, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The best candidate of each slab that can be the same phantom."""
    best: dict[float, _Candidate] = {}
    for other in candidates:
        reach = SUPPORT_MM + MAX_LEAN * abs(other.z_mm - of.z_mm)
        turn = abs((other.angle_deg - of.angle_deg + 180.0) % 360.0 - 180.0)
        same = other.turned == of.turned and turn <= 2 * ANGLE_STEP_DEG and abs(other.scale - of.scale) < 0.17
        near = np.hypot(other.x_mm - of.x_mm, other.y_mm - of.y_mm) <= reach
        if same and near and (other.z_mm not in best or other.cost < best[other.z_mm].cost):
            best[other.z_mm] = other
    return list(best.values())


def _support(of: _Candidate, candidates: Sequence[_Candidate]) -> float:
    return sum(1.0 - member.cost for member in _members(of, candidates)) - of.cost


def _pose_of(members: Sequence[_Candidate], best: _Candidate) -> PhantomPose:
    """Line through the members by their medians; lean only from three slabs on."""
    z = np.array([member.z_mm for member in members])
    x, y = np.array([member.x_mm for member in members]), np.array([member.y_mm for member in members])
    middle = float(np.median(z)) if len(members) > 1 else best.z_mm
    lean_x, x_mid = _line(z - middle, x)
    lean_y, y_mid = _line(z - middle, y)
    return PhantomPose(
        origin_lps_mm=(x_mid, y_mid, middle),
        angle_deg=best.angle_deg,
        lean_x=lean_x,
        lean_y=lean_y,
        turned=best.turned,
        scale=float(np.median([member.scale for member in members])),
    )


def _line(z: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Theil-Sen slope and middle: a wrong slab or two does not bend it."""
    pairs = [(values[j] - values[i]) / (z[j] - z[i]) for i in range(len(z)) for j in range(i + 1, len(z)) if abs(z[j] - z[i]) > 1.0]
    slope = float(np.clip(np.median(pairs), -MAX_LEAN, MAX_LEAN)) if len(z) >= 3 and pairs else 0.0
    return slope, float(np.median(values - slope * z))
