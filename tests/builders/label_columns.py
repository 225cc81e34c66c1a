"""Label volumes of block vertebrae, and data sets of them on disk in the layouts of VerSe and CTSpine1K."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class BlockColumn:
    """Vertebrae as blocks of 40 x 28 x 20 mm, one every 30 mm from the top, on a grid of any spacing, moved by ``shift_mm``."""

    levels: Sequence[str] = ("T12", "L1", "L2", "L3")
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size_mm: tuple[float, float, float] = (80.0, 60.0, 180.0)

    def grid(self) -> Grid:
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = np.array([-40.0, -20.0, 100.0]) + 0.5 * np.array(self.spacing_mm)
        shape = [round(size / spacing) for size, spacing in zip(self.size_mm, self.spacing_mm, strict=True)]
        return Grid(shape_zyx=(shape[2], shape[1], shape[0]), voxel_to_lps=matrix)

    def center(self, level: str) -> tuple[float, float, float]:
        x, y, z = self.shift_mm
        return (x, 10.0 + y, 260.0 - 30.0 * list(self.levels).index(level) + z)

    def labels(self) -> LabelVolume:
        grid = self.grid()
        voxels = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")[::-1], axis=-1)
        points = grid.to_lps(voxels)
        labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
        for level in self.levels:
            inside = (np.abs(points - self.center(level)) <= (19.9, 13.9, 9.9)).all(axis=-1)
            labels[inside] = LABEL_OF_LEVEL[level]
        return LabelVolume(labels_zyx=labels, grid=grid)

    def centers(self) -> dict[int, tuple[float, float, float]]:
        return {LABEL_OF_LEVEL[level]: self.center(level) for level in self.levels}


def save_labels(path: Path, volume: LabelVolume, orientation: str = "RAS") -> Path:
    """Write a label volume as NIfTI with its axes turned to an orientation of nibabel (where the axes grow to)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(volume.labels_zyx.transpose(2, 1, 0), _LPS_TO_RAS @ volume.grid.voxel_to_lps)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(orientation))
    nib.save(image.as_reoriented(turn), path)
    return path


def save_centroids(path: Path, centers: Mapping[int, Sequence[float]], direction: Sequence[str] | None) -> Path:
    """Write a centroid file with the numbers as they are."""
    entries: list[dict[str, object]] = [] if direction is None else [{"direction": list(direction)}]
    entries += [{"label": label, "X": float(x), "Y": float(y), "Z": float(z)} for label, (x, y, z) in centers.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    return path


def save_out_folder(
    folder: Path, column: BlockColumn, grades: Mapping[str, int | None] | None = None, *, arch: bool = True, version: str = "1.0"
) -> Path:
    """What ``trabecula analyze`` leaves, as far as an evaluation reads it: the front half of each block is body, the rear half arch."""
    labels = column.labels()
    front = np.arange(labels.labels_zyx.shape[1])[None, :, None] < labels.labels_zyx.shape[1] // 2
    save_labels(folder / "segmentation.nii.gz", LabelVolume(labels_zyx=labels.labels_zyx * front.astype(np.uint8), grid=labels.grid))
    rear = labels.labels_zyx * (~front).astype(np.uint8) * np.uint8(arch)
    save_labels(folder / "segmentation_posterior.nii.gz", LabelVolume(labels_zyx=rear, grid=labels.grid))
    grades = grades if grades is not None else dict.fromkeys(column.levels, 0)
    result = {
        "status": "complete",
        "software": {"version": version, "backend": "builtin", "weights_sha256": "ab" * 32},
        "numbering": {"certain": True},
        "levels": [
            {
                "name": level,
                "center_lps_mm": column.center(level),
                "complete": True,
                "genant": {"grade": grades.get(level), "type": "wedge" if grades.get(level) else None, "probability": None},
                "excluded": [] if grades.get(level) is not None else ["NO_REFERENCE_HEIGHT"],
            }
            for level in column.levels
        ],
        "density": {"mean_mg_cm3": 101.5, "basis": "calibrated"},
        "flags": [],
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder
