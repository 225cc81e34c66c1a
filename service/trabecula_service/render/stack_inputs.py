"""A result of several series taken apart again: what each of them shows, for the objects that can name one series only."""

import numpy as np

from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.dicom.image import CtImage
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.shared_parts import once_per_input
from trabecula_service.result import Level


def stack_inputs(document_input: DocumentInput) -> tuple[DocumentInput, ...]:
    """One input per series that levels were measured in, with these levels and their labels on the series' own slices.

    The input itself where one series was measured. A joined result without levels (rejected by a reader) names all its series.
    """
    return _taken_apart(document_input) if document_input.image.stacks else (document_input,)


@once_per_input
def _taken_apart(document_input: DocumentInput) -> tuple[DocumentInput, ...]:
    levels = document_input.result.levels
    images = document_input.image.stacks
    own = [[level for level in levels if level.series_instance_uid == image.source.series_instance_uid] for image in images]
    return tuple(_of_stack(document_input, image, mine) for image, mine in zip(images, own, strict=True) if mine or not levels)


def _of_stack(document_input: DocumentInput, image: CtImage, levels: list[Level]) -> DocumentInput:
    result = document_input.result
    # Slice thickness is the series' own; the rest, which a user may have corrected, is that of the whole.
    acquisition = result.acquisition.model_copy(update={"slice_thickness_mm": image.acquisition.slice_thickness_mm})
    source = image.source.model_copy(update={"scanned_on": result.source.scanned_on})
    own = [_of_levels(mask, levels) for mask in (document_input.bodies, document_input.posterior)]
    bodies, posterior = resample_masks(own, image.volume.grid)
    return DocumentInput(
        result=result.model_copy(update={"source": source, "acquisition": acquisition, "levels": levels}),
        image=image,
        bodies=bodies,
        posterior=posterior,
        created=document_input.created,
        version=document_input.version,
        language=document_input.language,
    )


def _of_levels(labels: LabelVolume, levels: list[Level]) -> LabelVolume:
    kept = np.zeros(256, dtype=np.uint8)
    for label in (*(LABEL_OF_LEVEL[level.name] for level in levels), SACRUM_LABEL, FOREIGN_LABEL):
        kept[label] = label
    return LabelVolume(labels_zyx=kept[labels.labels_zyx], grid=labels.grid)
