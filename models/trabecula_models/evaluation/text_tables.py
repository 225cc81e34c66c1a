"""The terminal's tables: a set of cases in the shape of CTSpine1K's Table 2, and what stands under it."""

from collections.abc import Callable, Sequence

from trabecula_models.evaluation.summary import LevelMean, SetSummary
from trabecula_morphometry.levels import LEVELS_IN_ORDER

_LEVELS_SHOWN = tuple(level for level in LEVELS_IN_ORDER if level != "T13")


def segmentation_table(sets: Sequence[SetSummary]) -> str:
    """Dice / HD95 (mm) / number of vertebrae per level and set in two blocks, then mean of vertebrae and mean of spine."""
    levels = [*_LEVELS_SHOWN, *(["T13"] if any(one.level == "T13" for s in sets for one in s.levels) else [])]
    half = (len(levels) + 1) // 2
    width = max(18, *(len(s.group) + 2 for s in sets))
    header = f"{'Level':<6}" + "".join(f"{s.group or 'all':>{width}}" for s in sets)
    unit = " " * 6 + "".join(f"{'DSC/HD95 (n)':>{width}}" for _ in sets)
    left, right = ([_level_row(level, sets, width) for level in part] for part in (levels[:half], levels[half:]))
    right += [""] * (len(left) - len(right))
    lines = [f"{header}    {header}", f"{unit}    {unit}"]
    lines += [f"{a}    {b}".rstrip() for a, b in zip(left, right, strict=True)]
    lines += ["", *_mean_rows(sets)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _level_row(level: str, sets: Sequence[SetSummary], width: int) -> str:
    cells = []
    for one in sets:
        mean: LevelMean | None = next((m for m in one.levels if m.level == level), None)
        cells.append("-" if mean is None else f"{_pair(mean.dice, mean.hd95_mm)} ({mean.cases})")
    return f"{level:<6}" + "".join(f"{cell:>{width}}" for cell in cells)


def _mean_rows(sets: Sequence[SetSummary]) -> list[str]:
    return _rows(
        sets,
        (
            ("Mean of vertebrae (DSC/HD95 mm)", lambda s: _pair(s.mean_of_vertebrae_dice, s.mean_of_vertebrae_hd95_mm)),
            ("Mean of spine (DSC/HD95 mm)", lambda s: _pair(s.mean_of_spine_dice, s.mean_of_spine_hd95_mm)),
            ("  without unannotated levels", lambda s: _pair(s.annotated_spine_dice, s.annotated_spine_hd95_mm)),
            ("Mean DSC over cases", lambda s: _number(s.dice_of_cases, 3)),
            ("  with extra levels as 0", lambda s: _number(s.dice_of_cases_strict, 3)),
        ),
    )


def identification_table(sets: Sequence[SetSummary]) -> str:
    """Id-rate, d_mean and the counts behind them, one column per set."""
    rows: tuple[tuple[str, Callable[[SetSummary], str]], ...] = (
        ("Cases", lambda s: str(s.cases)),
        ("Vertebrae of the reference", lambda s: str(s.vertebrae)),
        ("id.rate %", lambda s: f"{_percent(s.id_rate)} ({s.identified}/{s.judged})"),
        ("Precision %", lambda s: _percent(s.precision)),
        ("d_mean mm (labels in both)", lambda s: f"{_number(s.d_mean_mm, 2)} ({s.compared_centers})"),
        ("d_median mm", lambda s: _number(s.d_median_mm, 2)),
        ("Missed levels", lambda s: str(s.missed)),
        ("Extra levels", lambda s: str(s.extra)),
        ("  of them on no annotated vertebra", lambda s: str(s.extra_unannotated)),
        ("Cases with all levels right", lambda s: f"{s.cases_all_right} of {s.cases}"),
        ("Cases with a misnamed level", lambda s: str(s.cases_misnamed)),
        ("  of them said to be certain", lambda s: "-" if s.cases_misnamed_yet_certain is None else str(s.cases_misnamed_yet_certain)),
    )
    return "\n".join(_rows(sets, rows)) + "\n"


def _rows(sets: Sequence[SetSummary], rows: Sequence[tuple[str, Callable[[SetSummary], str]]]) -> list[str]:
    width = max(18, *(len(s.group) + 2 for s in sets))
    return [f"{title:<34}" + "".join(f"{cell(one):>{width}}" for one in sets).rstrip() for title, cell in rows]


def _pair(dice: float | None, hd95_mm: float | None) -> str:
    return f"{_number(dice, 3)}/{_number(hd95_mm, 2)}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
