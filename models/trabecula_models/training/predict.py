"""Plain sliding-window prediction for checks (the product has its own backends)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trabecula_models.training.pool import scale_hu


def _starts(size: int, window: int) -> list[int]:
    if size <= window:
        return [0]
    count = int(np.ceil((size - window) / (window * 0.6))) + 1
    return [round(v) for v in np.linspace(0, size - window, count)]


def predict(network: nn.Module, hu_zyx: NDArray[np.float32], window_zyx: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the eight output channels over a whole volume, windows blended with a Gaussian weight."""
    shape = hu_zyx.shape
    pad = [(0, max(0, w - n)) for n, w in zip(shape, window_zyx, strict=True)]
    image = torch.from_numpy(scale_hu(np.pad(hu_zyx, pad, constant_values=-1024.0)))
    axes = [torch.exp(-0.5 * ((torch.arange(w) - (w - 1) / 2) / (0.25 * w)) ** 2) for w in window_zyx]
    weight = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :] + 1e-3
    total = torch.zeros((8, *image.shape))
    norm = torch.zeros(image.shape)
    with torch.inference_mode():
        for z in _starts(image.shape[0], window_zyx[0]):
            for y in _starts(image.shape[1], window_zyx[1]):
                for x in _starts(image.shape[2], window_zyx[2]):
                    box = tuple(slice(s, s + w) for s, w in zip((z, y, x), window_zyx, strict=True))
                    output = network(image[box][None, None])[0]
                    total[(slice(None), *box)] += output * weight
                    norm[box] += weight
    cut = tuple(slice(0, n) for n in shape)
    return np.asarray((total / norm)[(slice(None), *cut)].numpy())


def find_bodies(output: NDArray[np.float32], spacing_mm: float) -> tuple[NDArray[np.int32], list[NDArray[np.float64]]]:
    """Return body instances and their heat peaks in mm (peaks above 0.25, 10 mm apart, touching body; watershed)."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    classes = output[:7].argmax(0)
    body = classes == 1
    heat = ndimage.gaussian_filter(output[7], 0.7)
    size = 2 * round(10 / spacing_mm) // 2 * 2 + 1
    near = ndimage.maximum_filter(heat, size)
    probability = ndimage.maximum_filter(body, 3)
    peaks = np.argwhere((heat == near) & (heat > 0.25) & probability)
    body = ndimage.binary_opening(body)
    depth_mm = ndimage.distance_transform_edt(body) * spacing_mm
    markers = np.zeros(body.shape, np.int32)
    for number, peak in enumerate(peaks, start=1):
        markers[tuple(peak)] = number
    relief = -(depth_mm / 12 + 1.5 * heat) + 2 * (classes == 3)
    instances = watershed(relief, markers, mask=body)
    return np.asarray(instances, np.int32), [np.asarray(peak * spacing_mm, np.float64) for peak in peaks]
