"""Whole torsos (skin, fat, muscle, organs, ribs) with the course of their own column, to be slid under another spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.sources import read_labels
from trabecula_models.synthesis.tissues import Tissue, icrp_table, spl_table

TORSO_SPACING_MM = 1.5
FEMALE, MALE, ATLAS = "icrp110_AF_native", "icrp110_AM_native", "spl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Torso:
    """Tissue codes at 1.5 mm; `column_*` give the column centre (voxels) of every slice and its level (VerSe index)."""

    tissue_zyx: NDArray[np.uint8]
    column_y: NDArray[np.float64]
    column_x: NDArray[np.float64]
    level_of_z: NDArray[np.float64]


def smooth_upsample(labels_zyx: NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], smooth_mm: float = 1.3) -> NDArray[np.uint8]:
    """Resample labels to 1.5 mm by blurring each label's indicator and taking the strongest."""
    shape = [max(2, round(n * s / TORSO_SPACING_MM)) for n, s in zip(labels_zyx.shape, spacing_zyx_mm, strict=True)]
    best = torch.full(shape, -1.0)
    result = torch.zeros(shape, dtype=torch.uint8)
    sigma = [0.4 if s > 3 else smooth_mm / s for s in spacing_zyx_mm]
    for code in np.unique(labels_zyx):
        soft = ndimage.gaussian_filter((labels_zyx == code).astype(np.float32), sigma, truncate=3)
        if code in (Tissue.RIB, Tissue.SKIN, Tissue.VEIN, Tissue.AORTA):
            soft *= 1.5  # thin structures lose a plain vote
        up = torch.nn.functional.interpolate(torch.from_numpy(soft)[None, None], size=shape, mode="trilinear", align_corners=False)[0, 0]
        wins = up > best
        best[wins] = up[wins]
        result[wins] = int(code)
    return np.asarray(result.numpy())


def _interpolated_column(tissue: NDArray[np.uint8], level_of_z: NDArray[np.float64], spine: NDArray[np.bool_]) -> Torso:
    """Take the deepest point of the spine mask in each slice as column centre, smoothed along z."""
    z_known, y_known, x_known = [], [], []
    for z in np.flatnonzero(spine.any((1, 2))):
        depth = ndimage.distance_transform_edt(spine[z])
        if depth.max() * TORSO_SPACING_MM > 6:
            y, x = np.argwhere(depth > 0.85 * depth.max()).mean(0)
            z_known.append(z)
            y_known.append(y)
            x_known.append(x)
    z_all = np.arange(tissue.shape[0])
    y_smooth = ndimage.gaussian_filter1d(ndimage.median_filter(np.interp(z_all, z_known, y_known), 15), 8)
    x_smooth = ndimage.gaussian_filter1d(ndimage.median_filter(np.interp(z_all, z_known, x_known), 15), 8)
    return Torso(tissue_zyx=tissue, column_y=y_smooth, column_x=x_smooth, level_of_z=level_of_z)


def _levels_along_z(z_of_level: dict[float, float], count: int) -> NDArray[np.float64]:
    """Interpolate level over slice index; beyond the known levels one level is as high as the last one."""
    levels = np.array(sorted(z_of_level))
    z = np.array([z_of_level[level] for level in levels])
    low, high = z[-2] - z[-1], z[0] - z[1]
    levels = np.concatenate([[levels[0] - 10], levels, [levels[-1] + 10]])
    z = np.concatenate([[z[0] + 10 * high], z, [z[-1] - 10 * low]])
    return np.asarray(np.interp(np.arange(count), z[::-1], levels[::-1]))


def icrp_torso(name: str) -> Torso:
    """Read `icrp110_AM_native` or `icrp110_AF_native`, neck to upper thigh.

    The phantoms do not separate levels: T1-T12 and L1-L5 are spread over the thoracic and the lumbar extent with
    heights growing downwards as in the VID spacings.
    """
    source = read_labels("torso", name)
    raw, spacing = source.labels_zyx, source.spacing_zyx_mm
    pelvis_z = np.flatnonzero(np.isin(raw, (41, 42)).any((1, 2)))
    thorax_z = np.flatnonzero(np.isin(raw, (49, 50)).any((1, 2)))
    lumbar_z = np.flatnonzero(np.isin(raw, (51, 52)).any((1, 2)))
    bottom, top = max(pelvis_z[0] - round(20 / spacing[0]), 0), thorax_z[-1] + round(90 / spacing[0])
    tissue = smooth_upsample(icrp_table()[raw[bottom:top]], spacing)
    scale = spacing[0] / TORSO_SPACING_MM
    thorax_top, border = (thorax_z[-1] + 1 - bottom) * scale, (thorax_z[0] - bottom) * scale
    lumbar_bottom = (lumbar_z[0] - bottom) * scale
    z_of_level: dict[float, float] = {}
    weights = np.linspace(0.75, 1.15, 12)
    for level, share in enumerate((np.cumsum(weights) - weights / 2) / weights.sum(), start=8):
        z_of_level[level] = thorax_top - share * (thorax_top - border)
    for level in range(20, 25):
        z_of_level[level] = border - (level - 19.5) / 5 * (border - lumbar_bottom)
    z_of_level[25] = lumbar_bottom - 0.5 * (border - lumbar_bottom) / 5
    spine = np.isin(tissue, (Tissue.OLD_SPINE,))
    sacrum = np.zeros_like(spine)
    torso = _interpolated_column(tissue, _levels_along_z(z_of_level, tissue.shape[0]), spine | sacrum)
    near = np.abs(np.arange(tissue.shape[2])[None, :] - torso.column_x[:, None]) < 30 / TORSO_SPACING_MM
    disc = (tissue == Tissue.CARTILAGE) & near[:, None, :]
    disc &= np.abs(np.arange(tissue.shape[1])[None, :] - torso.column_y[:, None])[:, :, None] < 40 / TORSO_SPACING_MM
    tissue[disc] = Tissue.OLD_SPINE
    return torso


def load_torso(name: str) -> Torso:
    """Read one torso: `FEMALE`, `MALE` or `ATLAS` (abdomen only)."""
    return spl_torso() if name == ATLAS else icrp_torso(name)


def spl_torso() -> Torso:
    """Read the SPL abdominal atlas (T9 to pelvis); skin and fat are not labelled there: an outline is added."""
    source = read_labels("torso", "spl_abdominal")
    raw = source.labels_zyx
    tissue = smooth_upsample(spl_table()[raw], source.spacing_zyx_mm, smooth_mm=1.0)
    inside = np.zeros(tissue.shape, bool)
    for z in range(tissue.shape[0]):
        nearby = tissue[max(z - 4, 0) : z + 5]
        blob = ndimage.binary_dilation((nearby != Tissue.FAT).any(0), iterations=6)
        inside[z] = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(blob, 40), iterations=35)[40:-40, 40:-40])
    depth = ndimage.distance_transform_edt(inside)
    tissue[~inside] = Tissue.AIR
    tissue[inside & (depth < 1.6) & (tissue == Tissue.FAT)] = Tissue.SKIN
    # Below the domes of the diaphragm the atlas leaves lung unlabelled: fat above the liver top behind the ribs.
    factor = source.spacing_zyx_mm[0] / TORSO_SPACING_MM
    z_of_level = {}
    for label in range(69, 78):
        z_of_level[float(label - 53)] = float(np.argwhere(raw == label)[:, 0].mean()) * factor
    z_of_level[25.0] = z_of_level[24.0] - 34 / TORSO_SPACING_MM
    spine = ndimage.zoom(np.isin(raw, range(69, 78)).astype(np.uint8), np.array(tissue.shape) / raw.shape, order=0)
    return _interpolated_column(tissue, _levels_along_z(z_of_level, tissue.shape[0]), spine > 0)


def spl_spine_levels() -> NDArray[np.uint8]:
    """Return the atlas' own vertebrae, discs (100), sacrum (26) and pelvis (27) at 1 mm, VerSe ids."""
    source = read_labels("torso", "spl_abdominal")
    raw = source.labels_zyx
    shape = [round(n * s) for n, s in zip(raw.shape, source.spacing_zyx_mm, strict=True)]
    result = np.zeros(shape, np.uint8)
    best = torch.full(shape, 0.5)
    ids = {label: label - 53 for label in range(69, 78)} | {87: 26, 68: 27} | dict.fromkeys(range(78, 87), 100)
    for code in sorted(set(ids.values())):
        members = [label for label, target in ids.items() if target == code]
        soft = ndimage.gaussian_filter(np.isin(raw, members).astype(np.float32), 0.7)
        up = torch.nn.functional.interpolate(torch.from_numpy(soft)[None, None], size=shape, mode="trilinear")[0, 0]
        wins = (up > best) & (up > 0.45)
        best[wins] = up[wins]
        result[wins.numpy()] = code
    return result
