"""Finds again the images that a result was measured on, among all that came for the study."""

from pathlib import Path

from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.image import CtImage
from trabecula_service.dicom.joined_image import joined_image
from trabecula_service.dicom.read import open_input
from trabecula_service.result import Source


def measured_image(path: Path, source: Source) -> CtImage:
    """The image of a result's source, told by its content where the result names it; of joined stacks the whole.

    Raises
    ------
    InputError : they are not among the images.
    """
    if not source.stacks:
        return _image(path, source.series_instance_uid, source.content_sha256)
    return joined_image([_image(path, stack.series_instance_uid, stack.content_sha256) for stack in source.stacks])


def _image(path: Path, series_uid: str | None, content_sha256: str | None) -> CtImage:
    with open_input(path, series_uid=series_uid) as offered:
        for image in offered.images():
            if content_sha256 in (None, image.source.content_sha256):
                return image
    where = f"series {series_uid or 'of a NIfTI file'}"
    raise InputError(
        "the images here are not those that were measured; those are no longer there", where=where, hint="send the series again"
    )
