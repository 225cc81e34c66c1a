"""A scene: one synthetic patient's anatomy at 1 mm, without intensities."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.body_split import BodyFrame

DEPTH_STEP_MM = 0.1
CENTRE_STEP_MM = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Anatomy on a 1 mm grid (z superior, y posterior, x left).

    `packed_zyx` holds four bytes per voxel, lowest first: tissue code, depth inside bone (0.1 mm steps, 0 outside),
    distance to the nearest body centre (0.2 mm steps, 255 = far), vertebral level (VerSe index, S1 = 25, 0 = none).
    """

    name: str
    packed_zyx: NDArray[np.uint32]
    frames: tuple[BodyFrame, ...]

    def save(self, folder: Path) -> None:
        """Write `<name>.npy` and `<name>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{self.name}.npy", self.packed_zyx)
        frames = [
            {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(frame).items()}
            for frame in self.frames
        ]
        (folder / f"{self.name}.json").write_text(json.dumps({"name": self.name, "frames": frames}, indent=1))

    @staticmethod
    def load(path: Path) -> Scene:
        """Memory-map the scene whose `.json` or `.npy` is `path`."""
        data = json.loads(path.with_suffix(".json").read_text())
        frames = tuple(
            BodyFrame(
                level=int(one["level"]),
                centre=np.array(one["centre"]),
                up=np.array(one["up"]),
                back=np.array(one["back"]),
                half_height_mm=float(one["half_height_mm"]),
                half_depth_mm=float(one["half_depth_mm"]),
                half_width_mm=float(one["half_width_mm"]),
            )
            for one in data["frames"]
        )
        packed = np.load(path.with_suffix(".npy"), mmap_mode="r")
        return Scene(name=data["name"], packed_zyx=packed, frames=frames)


def load_scenes(folder: Path) -> list[Scene]:
    """Load every scene of a folder, by name."""
    return [Scene.load(path) for path in sorted(folder.glob("*.json"))]


def pack(
    tissue: NDArray[np.uint8], depth_mm: NDArray[np.float32], centre_mm: NDArray[np.float32], level: NDArray[np.uint8]
) -> NDArray[np.uint32]:
    """Fold the four quantities of a voxel into one 32-bit value (see `Scene`)."""
    packed = tissue.astype(np.uint32)
    packed |= np.clip(np.rint(depth_mm / DEPTH_STEP_MM), 0, 255).astype(np.uint32) << np.uint32(8)
    packed |= np.clip(np.rint(centre_mm / CENTRE_STEP_MM), 0, 255).astype(np.uint32) << np.uint32(16)
    packed |= level.astype(np.uint32) << np.uint32(24)
    return packed
