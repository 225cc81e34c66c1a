"""The place where HU are read is a setting: said in the result, and without a category where the cut-offs do not hold."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from builders.calibrations import ENTRY
from builders.digital_column import DigitalColumn, intact
from trabecula_calibration.registry import Registry
from trabecula_models.segmentation import FoundVertebra, NameDecision, SpineSegmentation
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import SettingsError
from trabecula_morphometry.voi import VoiStyle
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.cli.main import app
from trabecula_service.dicom.image import CtImage
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.pipeline.conclude import conclude
from trabecula_service.pipeline.measurement import measure_image
from trabecula_service.result import Acquisition, Contrast, Result, Software, Source
from trabecula_service.settings.read import read_settings


def result_with(style: VoiStyle) -> Result:
    """Three lumbar bodies of 150 HU on a calibrated scanner, woman of 67, no contrast."""
    volume, bodies, vertebrae = DigitalColumn(bodies=(intact("L1"), intact("L2"), intact("L3"))).render()
    image = CtImage(
        volume=volume,
        source=Source(
            study_instance_uid=None, series_instance_uid=None, file_count=1, matrix=volume.grid.shape_zyx[::-1], spacing_mm=(1.0, 1.0, 1.0)
        ),
        acquisition=Acquisition(
            manufacturer=ENTRY.manufacturer,
            model=ENTRY.model,
            device_serial=ENTRY.device_serial,
            kvp=ENTRY.kvp,
            kernel="STANDARD",
            age_years=67,
            sex="F",
            contrast=Contrast(phase="unenhanced", source="user", confidence=1.0),
        ),
    )
    segmentation = SpineSegmentation(
        vertebrae=tuple(
            FoundVertebra(name=v.name, label=v.label, confidence=1.0, center_lps_mm=v.center_lps_mm, complete=True) for v in vertebrae
        ),
        numbering=NameDecision(certain=True),
        bodies=bodies,
        posterior=LabelVolume(labels_zyx=np.zeros_like(bodies.labels_zyx), grid=bodies.grid),
        weights_sha256="",
        backend="test",
    )
    measured = measure_image(
        image,
        segmentation,
        image.acquisition,
        Registry.of([ENTRY]),
        on_date=date(2026, 3, 1),
        policy=CalibrationPolicy(),
        voi_style=style,
    )
    software = Software(version="1", backend="test", weights_sha256="")
    return conclude(image, segmentation, measured, software=software, flags=(), timing_s={})


def test_the_default_place_gives_a_category_and_no_flag() -> None:
    result = result_with(VoiStyle.TRABECULA)
    assert {level.hu.style for level in result.levels if level.hu} == {"trabecula"}
    assert (result.density.basis, result.density.category) == ("calibrated", "intermediate")
    assert Code.VOI_STYLE not in [entry.code for entry in result.flags]


@pytest.mark.parametrize("style", [VoiStyle.COMP2COMP, VoiStyle.TOTALSEGMENTATOR])
def test_the_place_of_another_program_is_named_and_has_no_category(style: VoiStyle) -> None:
    result = result_with(style)
    assert {level.hu.style for level in result.levels if level.hu} == {style.value}
    assert (result.density.basis, result.density.category, result.density.category_source) == ("calibrated", None, None)
    assert style.value in result.density.explanation
    assert next(entry.text for entry in result.flags if entry.code is Code.VOI_STYLE).endswith(f"({style.value})")


def test_the_settings_file_chooses_the_place(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[analysis]\nvoi = "comp2comp"\n')
    assert read_settings(path).analysis.voi is VoiStyle.COMP2COMP
    path.write_text('[analysis]\nvoi = "heel"\n')
    with pytest.raises(SettingsError, match="voi"):
        read_settings(path)


def test_the_command_refuses_a_place_it_does_not_know(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["analyze", str(tmp_path), "--out", str(tmp_path / "out"), "--voi", "heel"])
    assert ended.exit_code == 2
    assert "--voi" in ended.stderr
