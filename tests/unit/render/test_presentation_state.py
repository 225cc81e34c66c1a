"""The six points on the slices: where they lie and what they are called."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from builders.results import Column, column_input
from trabecula_service.render.presentation_state import has_points, points_pr_dcm

SMALL = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))


def test_each_point_lies_on_its_slice_at_its_place() -> None:
    made = column_input(SMALL)
    state = dcmread(BytesIO(points_pr_dcm(made)))
    headers = {str(header.SOPInstanceUID): header for header in made.image.headers}
    found = {}
    for annotation in state.GraphicAnnotationSequence:
        header = headers[annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID]
        for text, graphic in zip(annotation.TextObjectSequence, annotation.GraphicObjectSequence, strict=True):
            column, row = (np.array(graphic.GraphicData, dtype=float) - 0.5) * 2.0
            found[text.UnformattedTextValue] = np.add(np.array(header.ImagePositionPatient, dtype=float), [column, row, 0])
    assert len(found) == 18
    for level in made.result.levels:
        assert level.points_lps_mm is not None
        np.testing.assert_allclose(found[f"{level.name} AS"][:2], level.points_lps_mm.anterior_superior[:2], atol=1e-3)
        assert found[f"{level.name} PI"][2] == pytest.approx(level.points_lps_mm.posterior_inferior[2], abs=2.0)


def test_without_points_there_is_no_presentation_state() -> None:
    levels = [level.model_copy(update={"points_lps_mm": None}) for level in column_input(SMALL).result.levels]
    assert not has_points(column_input(SMALL, levels=levels))
