"""The tester of series choice: what it shows is what the analysis would do, and nothing of the patient."""

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builders.series import CtSeries, body_hu, ct_series
from trabecula_morphometry.errors import InputError
from trabecula_service.choose.rules import default_rules, read_rules
from trabecula_service.cli.main import app
from trabecula_service.dicom.read import read_input
from trabecula_service.dicom.series_choice import ChoiceTable, explain_choice


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Soft and bone series, and two phases at the same places in one series."""
    soft = ct_series(series="soft", series_number=4, kernel="B30f")
    bone = ct_series(series="bone", series_number=3, kernel="B70f").with_tags(SeriesDescription="bone of Marked Secret")
    phases = [
        ct_series(series="liver", series_number=5, kernel="B70f", acquisition_number=number, body=lambda p, n=number: body_hu(p) + 20 * n)
        for number in (1, 2)
    ]
    localizer = ct_series(shape_zyx=(1, 64, 72), series="scout", image_type=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (soft + bone + phases[0] + phases[1] + localizer).write(tmp_path / "study")
    return tmp_path / "study"


def table_of(path: Path) -> ChoiceTable:
    return explain_choice([path], default_rules())


def test_the_chosen_series_is_the_one_that_the_analysis_reads(study: Path) -> None:
    rows = table_of(study).series
    assert [(row.series_number, row.verdict) for row in rows] == [(4, "chosen"), *[(number, "not chosen") for number in (3, 5, 5)]]
    assert read_input(study).source.series_number == 4


def test_each_rule_shows_its_points_and_the_loser_its_reason(study: Path) -> None:
    chosen, bone, *_ = table_of(study).series
    assert chosen.reason == ""
    assert bone.reason == "sharper or unknown kernel"
    kernels = [next(score for score in row.scores if score.rule == "kernel") for row in (chosen, bone)]
    assert [(score.earned, score.points) for score in kernels] == [(20, 20), (0, 20)]
    for row in (chosen, bone):
        assert row.points == pytest.approx(sum(score.earned for score in row.scores), abs=0.1)


def test_series_that_show_the_rest_of_the_spine_are_joined(tmp_path: Path) -> None:
    lower = ct_series(series="lower", series_number=4, shape_zyx=(30, 64, 72))
    upper = ct_series(series="upper", series_number=5, shape_zyx=(25, 64, 72), center_lps_mm=(0.0, 0.0, 65.0))
    (lower + upper).write(tmp_path)
    rows = table_of(tmp_path).series
    assert [(row.series_number, row.verdict, row.reason) for row in rows] == [(4, "chosen", ""), (5, "joined", "")]


def test_two_acquisitions_in_one_series_are_said_to_be_taken_apart(study: Path) -> None:
    assert table_of(study).split == ("series 5 is taken apart into 2 acquisitions of 20 and 20 slices",)


def test_what_is_no_ct_image_is_counted(study: Path) -> None:
    assert [(entry.kind, entry.count) for entry in table_of(study).ignored] == [("a localizer", 1)]


@pytest.mark.parametrize("form", ["folder", "zip", "files"])
def test_a_folder_a_zip_and_single_files_give_the_same_table(study: Path, tmp_path: Path, form: str) -> None:
    paths = [study]
    if form == "zip":
        paths = [tmp_path / "study.zip"]
        with zipfile.ZipFile(paths[0], "w") as archive:
            for file in sorted(study.iterdir()):
                archive.write(file, file.name)
    elif form == "files":
        paths = sorted(study.iterdir())
    assert explain_choice(paths, default_rules()) == table_of(study)


def test_an_input_of_which_nothing_is_measured_says_why(tmp_path: Path) -> None:
    ct_series(shape_zyx=(2, 64, 72)).write(tmp_path)
    table = table_of(tmp_path)
    assert "TOO_FEW_SLICES" in table.refusal
    assert [row.verdict for row in table.series] == ["refused"]


def test_two_patients_are_refused(tmp_path: Path) -> None:
    (ct_series(series="a") + ct_series(series="b", patient="P2")).write(tmp_path)
    assert "more than one patient" in table_of(tmp_path).refusal


def test_a_sites_rules_choose_another_series(study: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[rule]]\nname = "bone"\nfact = "kernel_sharpness"\npoints = 1\nvalues = { sharp = 1.0 }\nsaid = "soft"\n')
    assert explain_choice([study], read_rules(own)).series[0].series_number == 3


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_prints_nothing_of_the_patient(study: Path, options: list[str]) -> None:
    outcome = CliRunner().invoke(app, ["rules", "test", str(study), *options])
    assert outcome.exit_code == 0
    assert "Secret" not in outcome.output
    assert "P1" not in outcome.output


def test_descriptions_are_shown_on_demand_only(study: Path) -> None:
    assert "bone of Marked Secret" in CliRunner().invoke(app, ["rules", "test", str(study), "--descriptions"]).output


def test_the_json_of_the_command_is_the_table(study: Path) -> None:
    printed = json.loads(CliRunner().invoke(app, ["rules", "test", str(study), "--json"]).output)
    assert ChoiceTable.model_validate(printed) == table_of(study)


def test_the_command_ends_by_what_it_found(tmp_path: Path) -> None:
    def code(*arguments: str) -> int:
        return CliRunner().invoke(app, ["rules", "test", *arguments]).exit_code

    few: CtSeries = ct_series(shape_zyx=(1, 64, 72))
    few.write(tmp_path / "few")
    (tmp_path / "text").write_text("no DICOM")
    assert (code(str(tmp_path / "few")), code(str(tmp_path / "text")), code(str(tmp_path / "nothing"))) == (3, 2, 2)


def test_the_packages_rules_are_a_file_to_begin_ones_own_from(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(CliRunner().invoke(app, ["rules", "show"]).output)
    assert read_rules(own) == default_rules()


def test_nothing_to_look_at_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing was given"):
        explain_choice([], default_rules())
