"""Earlier densities of a patient in the report: compared only where they can be, with the change that chance may give."""

import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from builders.peers import need_program
from builders.results import Column, column_input, column_result
from trabecula_calibration.trend import Change, NotComparable
from trabecula_morphometry.errors import InputError
from trabecula_service.pipeline.prior_densities import MOST_PRIORS, prior_of, read_prior, with_priors
from trabecula_service.render import wording
from trabecula_service.render.languages import languages
from trabecula_service.render.pdf_report import report_data, report_pdf
from trabecula_service.render.trend import trend
from trabecula_service.result import Density, Result

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
TODAY = date(2026, 3, 1)


def earlier(day: date, mean: float, **changes: object) -> Result:
    """A result of another study; ``changes`` replace parts of its density."""
    result = column_result(COLUMN)
    density = result.density.model_copy(update={"mean_mg_cm3": mean, "interval95": (mean - 10, mean + 10), **changes})
    source = result.source.model_copy(update={"study_instance_uid": f"1.9.{day:%Y%m%d}", "scanned_on": day})
    return result.model_copy(update={"density": density, "source": source})


def now(*before: Result) -> Result:
    return with_priors(column_result(COLUMN), before, TODAY)


def test_only_earlier_studies_with_a_density_count_the_latest_few_in_order() -> None:
    found = now(
        earlier(date(2027, 1, 1), 90.0),
        column_result(COLUMN),
        earlier(date(2020, 1, 1), 90.0, mean_mg_cm3=None),
        *(earlier(date(2010 + year, 5, 1), 130.0 - year) for year in range(8)),
    )
    assert [prior.scanned_on.year for prior in found.priors] == [2013, 2014, 2015, 2016, 2017]
    assert len(found.priors) == MOST_PRIORS


def test_a_small_change_is_called_none_and_a_large_one_by_its_name() -> None:
    assert "by -2 mg/cm³: no significant change (less than 15 mg/cm³ may be chance)" in wording.trend_statement(
        now(earlier(date(2025, 1, 1), 109.0))
    )
    assert "the mean density (K2HPO4 equivalent, calibrated) has changed" in wording.trend_statement(now(earlier(date(2025, 1, 1), 150.0)))
    assert "by -42 mg/cm³: significant decrease" in wording.trend_statement(now(earlier(date(2025, 1, 1), 150.0)))
    assert "by +28 mg/cm³: significant increase" in wording.trend_statement(now(earlier(date(2025, 1, 1), 80.0)))


def test_what_cannot_be_compared_is_shown_with_its_reason_and_never_subtracted() -> None:
    result = now(earlier(date(2024, 1, 1), 120.0, material="HA"), earlier(date(2025, 1, 1), 120.0, basis="estimate"))
    assert [type(row.since) for row in trend(result)] == [NotComparable, NotComparable]
    assert wording.trend_statement(result) == "The mean density of 2025-01-01 cannot be compared: another basis."
    shown = report_data(replace(column_input(COLUMN), result=result))["trend"]
    assert [row[3:] for row in shown["rows"]] == [["–", "–", "another base material"], ["–", "–", "another basis"]]
    assert shown["points"] == []


def test_the_latest_density_that_can_be_compared_is_told() -> None:
    result = now(earlier(date(2023, 1, 1), 150.0), earlier(date(2024, 1, 1), 120.0, material="HA"))
    assert wording.trend_statement(result).startswith("Since 2023-01-01")
    assert isinstance(trend(result)[0].since, Change)


def test_without_a_density_today_nothing_is_compared() -> None:
    result = now(earlier(date(2023, 1, 1), 150.0)).model_copy(update={"density": Density()})
    assert trend(result) == []
    assert wording.trend_statement(result) == ""


def test_a_reader_who_changes_the_density_changes_the_trend() -> None:
    result = now(earlier(date(2025, 1, 1), 109.0))
    density = result.density.model_copy(update={"mean_mg_cm3": 60.0, "interval95": (50.0, 70.0)})
    assert "significant decrease" in wording.trend_statement(result.model_copy(update={"density": density}))


@pytest.mark.peer
@pytest.mark.parametrize("language", languages())
def test_the_report_shows_the_trend_and_keeps_to_two_pages(language: str, tmp_path: Path) -> None:
    names = [*(f"T{i}" for i in range(4, 13)), *(f"L{i}" for i in range(1, 6))]
    column = Column(names=names, spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
    made = column_input(column, language=language)
    before = [earlier(date(2020 + year, 5, 1), 130.0 - 4 * year) for year in range(5)]
    path = tmp_path / "report.pdf"
    path.write_bytes(report_pdf(replace(made, result=with_priors(made.result, before, TODAY))))
    text = subprocess.run([need_program("pdftotext"), "-layout", str(path), "-"], capture_output=True, text=True, check=True).stdout
    assert "2024-05-01" in text
    assert text.count("\f") == 2


def test_an_earlier_result_without_day_or_density_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(column_result(COLUMN).to_json())
    with pytest.raises(InputError, match="no mean density or no day"):
        read_prior(path)
    path.write_text(earlier(date(2025, 1, 1), 90.0).to_json())
    assert prior_of(read_prior(path)) is not None
