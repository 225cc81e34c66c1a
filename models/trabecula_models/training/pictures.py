"""Pictures of predictions for looking at: CT beside classes, sagittal, coronal and axial through the column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trabecula_models.training.real_cases import RealCase

COLOURS = np.array([[0, 0, 0], [0, 220, 0], [230, 0, 0], [0, 120, 255], [255, 0, 255], [255, 255, 0], [255, 150, 0]], np.uint8)


def _pair(hu: NDArray[np.float32], classes: NDArray[np.int64], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = np.repeat((np.clip((hu + 150) / 700, 0, 1) * 255).astype(np.uint8)[..., None], 3, -1)
    blend = np.where((classes > 0)[..., None], grey // 2 + COLOURS[classes] // 2, grey)
    edge = np.zeros(truth.shape, bool)
    edge[1:] |= truth[1:] != truth[:-1]
    edge[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    blend[edge] = 255
    return np.asarray(np.concatenate([grey, blend], 1), np.uint8)


def draw_prediction(case: RealCase, output: NDArray[np.float32], path: Path, scale: int = 3) -> None:
    """Write a picture; reference bodies are outlined in white."""
    classes = output[:7].argmax(0)
    centres = np.array(list(case.centres_mm.values())) / case.spacing_mm
    z, y, x = np.rint(centres.mean(0)).astype(int)
    panels = [
        _pair(case.hu_zyx[::-1, :, x], classes[::-1, :, x], case.bodies_zyx[::-1, :, x]),
        _pair(case.hu_zyx[::-1, y], classes[::-1, y], case.bodies_zyx[::-1, y]),
        _pair(case.hu_zyx[z], classes[z], case.bodies_zyx[z]),
    ]
    height = max(panel.shape[0] for panel in panels)
    canvas = np.concatenate([np.pad(p, ((0, height - p.shape[0]), (0, 4), (0, 0))) for p in panels], 1)
    picture = Image.fromarray(canvas)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)
