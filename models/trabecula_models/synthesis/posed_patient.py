"""A synthetic patient as he lies in the scanner: what is where, on any grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.bone_changes import BoneChanges, apply_bone_changes
from trabecula_models.synthesis.implants import Capsule, paint_implants
from trabecula_models.synthesis.intensity import Tables, paint
from trabecula_models.synthesis.pose import Pose
from trabecula_models.synthesis.sample import gather
from trabecula_models.synthesis.scene import Scene
from trabecula_models.synthesis.tissues import Tissue
from trabecula_morphometry.levels import SACRUM_LABEL
from trabecula_morphometry.volume import Grid, LabelVolume

SLAB_SLICES = 32
"""So many slices are worked on at once, to keep memory small."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Slab:
    """Some slices of a patient, all (z, y, x).

    `hu` is ideal and without implants, zero where nothing was to be painted; `hardware` is the HU of implants where `foreign` is true.
    """

    packed: NDArray[np.uint32]
    hu: NDArray[np.float32]
    tissue: NDArray[np.uint8]
    level: NDArray[np.uint8]
    foreign: NDArray[np.bool_]
    hardware: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrueMasks:
    """VerSe labels (sacrum 26) of the bone as it is under implants, and where metal or cement is, on one grid."""

    bodies: LabelVolume
    posterior: LabelVolume
    foreign_zyx: NDArray[np.bool_]

    def bodies_with_foreign(self, label: int) -> LabelVolume:
        """Bodies and sacrum with foreign material over them under its own label."""
        return LabelVolume(labels_zyx=np.where(self.foreign_zyx, np.uint8(label), self.bodies.labels_zyx), grid=self.bodies.grid)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosedPatient:
    """A scene in its pose, with what age and surgeons added. `changes` are those of the vertebrae from cranial to caudal."""

    scene: Scene
    pose: Pose
    changes: tuple[BoneChanges, ...]
    implants: tuple[Capsule, ...]

    def slabs(
        self, z_mm: NDArray[np.float64], y_mm: NDArray[np.float64], x_mm: NDArray[np.float64], tables: Tables | None = None
    ) -> Iterator[tuple[slice, Slab]]:
        """What lies at the points that three axes span (mm from the middle: z superior, y posterior, x left), some slices at a time.

        HU are painted where tables are given.
        """
        frames = sorted(self.scene.frames, key=lambda frame: -float(frame.centre[0]))
        for first in range(0, len(z_mm), SLAB_SLICES):
            part = slice(first, min(first + SLAB_SLICES, len(z_mm)))
            points = self.pose.collapsed(self.pose.scene_points(z_mm[part], y_mm, x_mm), self.scene.frames)
            packed = gather(self.scene, points)
            hu = np.zeros(packed.shape, np.float32) if tables is None else paint(packed, tables)
            tissue, level = (packed & np.uint32(255)).astype(np.uint8), (packed >> np.uint32(24)).astype(np.uint8)
            flat, low, high = points.reshape(3, -1), float(points[0].min()) - 40, float(points[0].max()) + 40
            for frame, change in zip(frames, self.changes, strict=True):
                if low < frame.centre[0] < high:
                    apply_bone_changes(change, frame, flat, hu.reshape(-1), tissue.reshape(-1), level.reshape(-1))
            hardware = np.zeros(packed.shape, np.float32)
            foreign = paint_implants(self.implants, flat, hardware.reshape(-1)).reshape(packed.shape)
            yield part, Slab(packed=packed, hu=hu, tissue=tissue, level=level, foreign=foreign, hardware=hardware)

    def masks_on(self, grid: Grid, low_lps_mm: NDArray[np.float64], high_lps_mm: NDArray[np.float64]) -> TrueMasks:
        """True masks on an LPS-parallel grid, filled between two corners and empty outside.

        Every voxel is looked up in the patient itself: masks brought from one lattice of 1 mm to another would be up to half a voxel off
        along each axis, all in the same direction.
        """
        axes, box = [], []
        for axis, count in zip((2, 1, 0), grid.shape_zyx, strict=True):
            at_mm = grid.voxel_to_lps[axis, 3] + grid.voxel_to_lps[axis, axis] * np.arange(count)
            inside = np.flatnonzero((at_mm >= low_lps_mm[axis]) & (at_mm <= high_lps_mm[axis]))
            part = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
            axes.append(np.asarray(at_mm[part], np.float64))
            box.append(part)
        bodies, posterior = np.zeros(grid.shape_zyx, np.uint8), np.zeros(grid.shape_zyx, np.uint8)
        foreign = np.zeros(grid.shape_zyx, bool)
        if all(len(axis) for axis in axes):
            for part, slab in self.slabs(axes[0], axes[1], axes[2]):
                here = (slice(box[0].start + part.start, box[0].start + part.stop), box[1], box[2])
                bodies[here] = body_labels(slab.tissue, slab.level)
                posterior[here] = posterior_labels(slab.tissue, slab.level)
                foreign[here] = slab.foreign
        return TrueMasks(
            bodies=LabelVolume(labels_zyx=bodies, grid=grid), posterior=LabelVolume(labels_zyx=posterior, grid=grid), foreign_zyx=foreign
        )


def body_labels(tissue: NDArray[np.uint8], level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """VerSe labels of bodies, 26 in the sacrum."""
    return np.where(tissue == Tissue.SACRUM, SACRUM_LABEL, np.where(tissue == Tissue.BODY, level, 0)).astype(np.uint8)


def posterior_labels(tissue: NDArray[np.uint8], level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """VerSe labels of posterior elements."""
    return np.where(tissue == Tissue.POSTERIOR, level, 0).astype(np.uint8)
