"""What every document is made from."""

from dataclasses import dataclass
from datetime import datetime

from trabecula_morphometry.errors import TrabeculaError
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.dicom.image import CtImage
from trabecula_service.render.languages import DEFAULT_LANGUAGE
from trabecula_service.result import Result


class RenderError(TrabeculaError):
    """A document cannot be made from this input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededObject:
    """A DICOM object of an earlier version of the same study."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class DocumentInput:
    """The result of one study version and the images it names; the same input gives the same bytes.

    Parameters
    ----------
    result : the measured answer; every number in a document comes from here.
    image : the CT that was measured, with the headers of its slices (none for NIfTI).
    bodies : vertebral bodies, sacrum (26) and foreign material (40) on the grid of ``image.volume``.
    posterior : posterior elements on the same grid.
    created : date and time that all documents carry; timezone-aware.
    version : version of the study's result, from 1.
    superseded : objects of earlier versions, which this one takes the place of.
    language : of the sentences for readers; one of ``languages.languages()``. Codes and names of measurements stay English.
    """

    result: Result
    image: CtImage
    bodies: LabelVolume
    posterior: LabelVolume
    created: datetime
    version: int
    superseded: tuple[SupersededObject, ...] = ()
    language: str = DEFAULT_LANGUAGE

    def __post_init__(self) -> None:
        if self.created.tzinfo is None:
            raise RenderError("the time of the documents has no time zone", where="created", hint="give a timezone-aware datetime")
        shape = self.image.volume.grid.shape_zyx
        if self.bodies.grid.shape_zyx != shape or self.posterior.grid.shape_zyx != shape:
            raise RenderError(
                "labels and image lie on different grids",
                where=f"image {shape}, bodies {self.bodies.grid.shape_zyx}, posterior {self.posterior.grid.shape_zyx}",
                hint="resample the labels to image.volume.grid",
            )
