"""Puts a spine into a torso: slides the torso slice by slice under the spine's curve, then pastes the spine."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.assembly import column_ranks
from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.ribs import RibPlan, draw_ribs, process_tips
from trabecula_models.synthesis.scene import Scene, pack
from trabecula_models.synthesis.spines import KNOWN_DISC, PELVIS, SACRUM, Spine
from trabecula_models.synthesis.tissues import BONE_TISSUES, Tissue
from trabecula_models.synthesis.torso import TORSO_SPACING_MM, Torso

WIDTH_MM, DEPTH_MM, COLUMN_Y_MM = 360, 256, 150
SACRUM_LEVEL, T13_LEVEL = 25, 28


def bone_depth(bone: NDArray[np.bool_], limit_mm: int = 5) -> NDArray[np.float32]:
    """Return the distance to the bone's edge in mm (1 mm voxels), exact up to `limit_mm`, half a voxel at the rim."""
    far = (limit_mm + 1) ** 2
    squared = np.where(bone, np.uint8(far), np.uint8(0))
    for axis in range(3):
        result = squared.copy()
        for shift in range(1, limit_mm + 1):
            cost = np.uint8(shift * shift)
            lifted = np.minimum(squared, far) + cost
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            np.minimum(result[tuple(behind)], lifted[tuple(ahead)], out=result[tuple(behind)])
            np.minimum(result[tuple(ahead)], lifted[tuple(behind)], out=result[tuple(ahead)])
        squared = result
    return np.where(bone, np.sqrt(squared.astype(np.float32)) - 0.5, 0).astype(np.float32)


def find_disc(upper: NDArray[np.bool_], lower: NDArray[np.bool_], free: NDArray[np.bool_], limit_mm: float = 16.0) -> NDArray[np.bool_]:
    """Return the voxels between two facing bodies: nearest points of both in opposed directions, gap below the limit."""
    d1, near1 = ndimage.distance_transform_edt(~upper, return_indices=True)
    d2, near2 = ndimage.distance_transform_edt(~lower, return_indices=True)
    grid = np.indices(upper.shape)
    dot = ((near1 - grid) * (near2 - grid)).sum(0) / np.maximum(d1 * d2, 1e-6)
    disc = free & (d1 + d2 < limit_mm) & (dot < -0.65)
    disc = ndimage.binary_opening(disc, iterations=1)
    # Between hollow endplates the directions flicker; without closing the disc is full of holes.
    disc = free & ndimage.binary_closing(np.pad(disc, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    parts, count = ndimage.label(disc)
    if count > 1:
        disc = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.asarray(disc)


def _ranks(frames: list[BodyFrame]) -> NDArray[np.float64]:
    """Place in a usual column of frames given caudal to cranial."""
    return column_ranks([frame.level for frame in frames[::-1]])[::-1]


def _slide_torso(torso: Torso, spine: Spine, origin_y: float, origin_x: float) -> NDArray[np.uint8]:
    """Return torso tissue on the spine's z extent, shifted in each slice so that the two columns coincide."""
    frames = sorted(spine.frames.values(), key=lambda f: f.centre[0])
    count = spine.levels_zyx.shape[0]
    z_frame = np.array([f.centre[0] for f in frames])
    lowest, ranks = frames[0], _ranks(frames)
    sacrum_z = lowest.centre[0] - 34.0
    z_all = np.arange(count, dtype=float)
    knots_z = np.concatenate([[sacrum_z - 340, sacrum_z], z_frame, [z_frame[-1] + 240]])
    knots_level = np.concatenate([[ranks[0] + 11], [ranks[0] + 1], ranks, [ranks[-1] - 10]])
    level = np.interp(z_all, knots_z, knots_level)
    level_torso = torso.level_of_z
    order = np.argsort(level_torso)
    z_torso = np.interp(level, level_torso[order], np.arange(len(level_torso))[order])
    below = np.array([torso.column_y[int(np.clip(z, 0, len(torso.column_y) - 1))] for z in z_torso])
    y_spine = np.interp(z_all, z_frame, [f.centre[1] for f in frames])
    x_spine = np.interp(z_all, z_frame, [f.centre[2] for f in frames])
    # Below L5 the torso's own pelvis keeps its posture relative to its column at L5.
    pinned = z_all < z_frame[0]
    first = int(np.argmax(~pinned))
    below[pinned] = below[first]
    y_spine = ndimage.gaussian_filter1d(y_spine, 6, mode="nearest")
    x_spine = ndimage.gaussian_filter1d(x_spine, 6, mode="nearest")
    canvas = np.zeros((count, DEPTH_MM, WIDTH_MM), np.uint8)
    ys, xs = np.arange(DEPTH_MM, dtype=float), np.arange(WIDTH_MM, dtype=float)
    height, depth, width = torso.tissue_zyx.shape
    for z in range(count):
        zt = round(float(z_torso[z]))
        if not 0 <= zt < height:
            continue
        column_x = torso.column_x[zt]
        yt = np.rint((ys - y_spine[z] - origin_y) / TORSO_SPACING_MM + below[z]).astype(int)
        xt = np.rint((xs - x_spine[z] - origin_x) / TORSO_SPACING_MM + column_x).astype(int)
        oky, okx = (yt >= 0) & (yt < depth), (xt >= 0) & (xt < width)
        canvas[z][np.ix_(oky, okx)] = torso.tissue_zyx[zt][np.ix_(yt[oky], xt[okx])]
    return canvas


def _tube(shape: tuple[int, ...], path: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the voxels within `radius` of a path given by one (y, x) per slice (NaN = none)."""
    mask = np.zeros(shape, bool)
    for z in np.flatnonzero(np.isfinite(path[:, 0])):
        y, x = path[z]
        r = float(radius[z])
        y0, x0 = max(int(y - r) - 1, 0), max(int(x - r) - 1, 0)
        box = mask[z, y0 : int(y + r) + 2, x0 : int(x + r) + 2]
        gy, gx = np.indices(box.shape)
        box |= (gy + y0 - y) ** 2 + (gx + x0 - x) ** 2 <= r * r
    return mask


def _path(frames: list[BodyFrame], back_mm: NDArray[np.float64], left_mm: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return (y, x) per slice of a line running beside the body centres, NaN beyond the outermost bodies' ends."""
    points = np.array([f.centre + b * f.back + x * np.array([0.0, 0.0, 1.0]) for f, b, x in zip(frames, back_mm, left_mm, strict=True)])
    z = np.arange(count)
    path = np.stack([np.interp(z, points[:, 0], points[:, axis]) for axis in (1, 2)], 1)
    for axis in range(2):
        path[:, axis] = ndimage.gaussian_filter1d(path[:, axis], 8, mode="nearest")
    path[(z < points[0, 0] - 30) | (z > points[-1, 0] + 30)] = np.nan
    return np.asarray(path)


def _add_vessels(tissue: NDArray[np.uint8], frames: list[BodyFrame], rng: np.random.Generator) -> None:
    """Add an aorta in front and to the left of the bodies and a cava to the right, where the torso lacks clear ones."""
    soft = np.isin(tissue, (Tissue.FAT, Tissue.MUSCLE, Tissue.LUNG, Tissue.GLAND, Tissue.VEIN, Tissue.CARTILAGE, Tissue.OLD_SPINE))
    front = np.array([-(f.half_depth_mm * 1.12 + rng.uniform(11, 14)) for f in frames])
    ranks = _ranks(frames)
    thoracic = ranks < 18
    left = np.where(thoracic, rng.uniform(12, 20), rng.uniform(2, 9))
    count = tissue.shape[0]
    radius = np.full(count, rng.uniform(8, 13))
    from_l4 = (ranks >= 7) & (ranks <= 23)
    chosen = [f for f, keep in zip(frames, from_l4, strict=True) if keep]
    if len(chosen) < 2:
        return
    tissue[
        _tube(tissue.shape, _path(chosen, front[from_l4] * np.where(thoracic[from_l4], 0.7, 1.0), left[from_l4], count), radius) & soft
    ] = Tissue.AORTA
    lumbar = [f for f, rank in zip(frames, ranks, strict=True) if 17 <= rank <= 23]
    if len(lumbar) >= 2:
        offsets = np.array([-(f.half_depth_mm * 1.12 + 10.0) for f in lumbar])
        tissue[_tube(tissue.shape, _path(lumbar, offsets, np.full(len(lumbar), -17.0), count), radius * 0.95) & soft] = Tissue.VEIN


def _add_table(tissue: NDArray[np.uint8]) -> None:
    """Add a mattress line behind the back of the patient (all slices alike, two shells)."""
    body = (tissue != Tissue.AIR).any(0)
    lowest = int(np.flatnonzero(body.any(1))[-1])
    xs = np.arange(tissue.shape[2])
    for shell in (4, 40):
        ys = np.rint(lowest + shell - 0.0006 * (xs - xs.mean()) ** 2).astype(int)
        for thick in range(3):
            ok = (ys + thick < tissue.shape[1]) & (np.abs(xs - xs.mean()) < 165)
            column = tissue[:, np.minimum(ys + thick, tissue.shape[1] - 1), xs]
            tissue[:, ys[ok] + thick, xs[ok]] = np.where(column[:, ok] == Tissue.AIR, Tissue.TABLE, column[:, ok])


def _paste(tissue: NDArray[np.uint8], spine: Spine, corner: NDArray[np.int64]) -> tuple[NDArray[np.uint8], list[BodyFrame]]:
    """Write bones, discs and canal of the spine into the canvas; return the level volume and moved frames."""
    tissue[tissue == Tissue.OLD_SPINE] = Tissue.MUSCLE
    levels = np.zeros(tissue.shape, np.uint8)
    y0, x0 = int(corner[1]), int(corner[2])
    sy, sx = spine.levels_zyx.shape[1:]
    target = (slice(None), slice(max(y0, 0), min(y0 + sy, tissue.shape[1])), slice(max(x0, 0), min(x0 + sx, tissue.shape[2])))
    source = (
        slice(None),
        slice(max(-y0, 0), max(-y0, 0) + target[1].stop - target[1].start),
        slice(max(-x0, 0), max(-x0, 0) + target[2].stop - target[2].start),
    )
    level, body = spine.levels_zyx[source], spine.body_zyx[source]
    part = tissue[target]
    if (level == SACRUM).any():
        part[np.isin(part, (Tissue.OLD_PELVIS,))] = Tissue.MUSCLE
        tissue[tissue == Tissue.OLD_PELVIS] = Tissue.MUSCLE
    tissue[tissue == Tissue.OLD_PELVIS] = Tissue.PELVIS
    frames = [replace(f, centre=f.centre + corner) for f in sorted(spine.frames.values(), key=lambda f: f.centre[0])]
    count = tissue.shape[0]
    behind = np.array([f.half_depth_mm * 1.12 + 8.0 for f in frames])
    canal = _tube(tissue.shape, _path(frames, behind, np.zeros(len(frames)), count), np.full(count, 8.0))
    tissue[canal] = Tissue.CANAL
    vertebra = ((level > 0) & (level <= 25)) | (level == T13_LEVEL)
    part[vertebra] = np.where(body[vertebra], Tissue.BODY, Tissue.POSTERIOR)
    part[level == SACRUM] = Tissue.SACRUM
    part[level == PELVIS] = Tissue.PELVIS
    part[level == KNOWN_DISC] = Tissue.DISC
    levels[target] = np.where(level == SACRUM, SACRUM_LEVEL, np.where(vertebra, level, 0))
    for lower, upper in zip([None, *frames[:-1]], frames, strict=True):
        mark = lower.centre if lower is not None else upper.centre - 34 * upper.up
        is_sacrum = lower is None and bool((level == SACRUM).any())
        if (lower is None and not is_sacrum) or (level == KNOWN_DISC).any():
            continue
        middle, reach = (upper.centre + mark) / 2, np.array([36, 34, 36])
        box = tuple(slice(max(int(m - r), 0), int(m + r)) for m, r in zip(middle, reach, strict=True))
        bone = tissue[box] == Tissue.BODY
        floor = bone & (levels[box] == upper.level)
        roof = tissue[box] == Tissue.SACRUM if lower is None else bone & (levels[box] == lower.level)
        if not floor.any() or not roof.any():
            continue
        free = ~np.isin(tissue[box], BONE_TISSUES)
        disc = find_disc(floor, roof, free, 18.0 if is_sacrum else 16.0)
        if is_sacrum:
            back = (
                (np.indices(disc.shape) + np.array([s.start for s in box])[:, None, None, None]).transpose(1, 2, 3, 0) - upper.centre
            ) @ upper.back
            disc &= back < upper.half_depth_mm * 1.2
        tissue[box][disc] = Tissue.DISC
    return levels, frames


def build_scene(name: str, spine: Spine, torso: Torso, ribs: RibPlan | None = None) -> Scene:
    """Return the scene of `spine` inside `torso`; top and bottom end where the spine (or its pelvis) ends.

    With a rib plan the torso's own ribs are replaced by ribs that hang on the vertebrae.
    """
    frames = list(spine.frames.values())
    mean_y, mean_x = np.mean([f.centre[1] for f in frames]), np.mean([f.centre[2] for f in frames])
    corner = np.array([0, round(COLUMN_Y_MM - mean_y), round(WIDTH_MM / 2 - mean_x)])
    tissue = _slide_torso(torso, spine, float(corner[1]), float(corner[2]))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    moved = [replace(f, centre=f.centre + corner) for f in sorted(frames, key=lambda f: f.centre[0])]
    if ribs is not None:
        tips = {level: (right + corner, left + corner) for level, (right, left) in process_tips(spine).items()}
        draw_ribs(tissue, moved, ribs, tips)
    _add_vessels(tissue, moved, rng)
    levels, moved = _paste(tissue, spine, corner)
    _add_table(tissue)
    highest = moved[-1]
    top = min(int(highest.centre[0] + highest.half_height_mm + 12), tissue.shape[0])
    inside = (tissue != Tissue.AIR) & (tissue != Tissue.TABLE)
    filled = np.flatnonzero(inside.mean((1, 2)) > 0.05)
    bottom = int(filled[0]) if len(filled) else 0
    tissue, levels = tissue[bottom:top], levels[bottom:top]
    shift = np.array([bottom, 0, 0])
    centre_mm = np.full(tissue.shape, 60.0, np.float32)
    final = []
    for f in moved:
        centre = f.centre - shift
        final.append(replace(f, centre=centre))
        box = tuple(slice(max(int(c) - 30, 0), int(c) + 31) for c in centre)
        grid = np.indices(centre_mm[box].shape) + np.array([s.start for s in box])[:, None, None, None]
        distance = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(0))
        np.minimum(centre_mm[box], distance.astype(np.float32), out=centre_mm[box])
    depth_mm = bone_depth(np.isin(tissue, BONE_TISSUES))
    return Scene(name=name, packed_zyx=pack(tissue, depth_mm, centre_mm, levels), frames=tuple(final))
