"""Label volumes as NIfTI bytes: RAS+ millimetres, i = x, j = y, k = z of the grid, the same bytes each time."""

import gzip

import nibabel
import numpy as np

from trabecula_morphometry.volume import LabelVolume
from trabecula_service.render.document_input import DocumentInput

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def label_nifti_bytes(labels: LabelVolume) -> bytes:
    """A gzipped NIfTI-1 file of the labels on their own grid.

    The affine maps voxel (i, j, k) to RAS+ millimetres. A sheared grid (gantry tilt) keeps its shear in the sform; the qform cannot
    hold one and is left unset then.
    """
    affine = _RAS_FROM_LPS @ labels.grid.voxel_to_lps
    image = nibabel.Nifti1Image(labels.labels_zyx.astype(np.uint8).transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    orthogonal = bool(np.allclose(steps.T @ steps, np.eye(3), atol=1e-4))
    image.set_qform(affine if orthogonal else None, code="scanner" if orthogonal else "unknown")
    # Time and file name in the gzip header would make the same labels give other bytes.
    # Labels are nearly all zeros: a higher level takes twice the time for a few kilobytes.
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def bodies_nifti(document_input: DocumentInput) -> bytes:
    """``segmentation.nii.gz``: vertebral bodies, sacrum and foreign material."""
    return label_nifti_bytes(document_input.bodies)


def posterior_nifti(document_input: DocumentInput) -> bytes:
    """``segmentation_posterior.nii.gz``: posterior elements."""
    return label_nifti_bytes(document_input.posterior)
