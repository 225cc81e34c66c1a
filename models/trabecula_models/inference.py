"""Running a network over a volume of any size in windows of its training size, with bounded memory."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bundle import Bundle
from trabecula_models.forward import Compute, build_forward
from trabecula_morphometry.volume import AIR_HU

LOWEST_HU, HIGHEST_HU = -200.0, 1000.0
"""The networks see HU clipped to this range and scaled to [-1, 1]."""


def scale_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU as the networks expect them."""
    scaled: NDArray[np.float32] = ((np.clip(hu, LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU) * 2.0 - 1.0).astype(
        np.float32
    )
    return scaled


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; they cover it evenly and overlap at least by ``overlap``."""
    if size <= window:
        return [0]
    count = int(np.ceil((size - window) / (window * (1 - overlap)))) + 1
    return [round(start) for start in np.linspace(0, size - window, count)]


def _bell(window: tuple[int, int, int]) -> NDArray[np.float32]:
    """Weight of a window's voxels: the middle counts most, because the edges lack context."""
    axes = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 5)) ** 2) for n in window]
    weight: NDArray[np.float32] = (axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :] + 1e-3).astype(np.float32)
    return weight


class NetworkRunner:
    """A network with its weights, kept in memory between studies.

    Parameters
    ----------
    bundle : weights and their metadata.
    compute : device, engine and precision.
    """

    def __init__(self, bundle: Bundle, compute: Compute | None = None) -> None:
        self.bundle = bundle
        self._forward = build_forward(bundle, compute or Compute())
        self.engine = self._forward.engine

    def run(
        self,
        hu_zyx: NDArray[np.float32],
        *,
        window_zyx: tuple[int, int, int],
        overlap: float = 0.3,
        least_zyx: tuple[int, int, int] = (1, 1, 1),
        mirrored: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """Raw output channels (channels, z, y, x) of the network for HU on the network's own grid.

        ``mirrored`` shows the network the left-right mirror image and turns its answer back: another look at the same volume.
        Windows shrink with the volume, to no less than ``least_zyx``, and are multiples of 16 voxels as the network's pooling asks; what a
        volume lacks is air.
        Besides the answer, memory holds one window's activations and two volumes of the input's size.
        """
        size = np.array(hu_zyx.shape)
        window = np.array([min(w, int(np.ceil(max(n, least) / 16)) * 16) for w, n, least in zip(window_zyx, size, least_zyx, strict=True)])
        padding = np.maximum(window - size, 0)
        before = padding // 2
        image = hu_zyx
        if padding.any():
            image = np.pad(hu_zyx, [(int(b), int(p - b)) for b, p in zip(before, padding, strict=True)], constant_values=AIR_HU)
        if mirrored:
            image = image[..., ::-1]
        starts = [
            (z, y, x)
            for z in window_starts(image.shape[0], int(window[0]), overlap)
            for y in window_starts(image.shape[1], int(window[1]), overlap)
            for x in window_starts(image.shape[2], int(window[2]), overlap)
        ]
        weight = _bell((int(window[0]), int(window[1]), int(window[2])))
        weighted = np.empty_like(weight)
        total: NDArray[np.float32] | None = None
        weights = np.zeros(image.shape, dtype=np.float32)
        for done, (z, y, x) in enumerate(starts, start=1):
            box = (slice(z, z + int(window[0])), slice(y, y + int(window[1])), slice(x, x + int(window[2])))
            out = self._forward(scale_hu(image[box])[None])
            if total is None:
                total = np.zeros((out.shape[0], *image.shape), dtype=np.float32)
            for channel, seen in zip(total, out, strict=True):  # one channel stays in the processor's cache, all together do not
                channel[box] += np.multiply(seen, weight, out=weighted)
            weights[box] += weight
            if progress:
                progress(done / len(starts))
        if total is None:
            raise AssertionError("a volume has at least one window")
        total /= weights
        if mirrored:
            for channel in total:
                channel[...] = channel[..., ::-1].copy()
        return total[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1], before[2] : before[2] + size[2]]


def softmax_classes(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the first axis (in place where possible)."""
    logits -= logits.max(axis=0, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0, keepdims=True)
    return logits
