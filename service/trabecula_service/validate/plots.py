"""Plots of the validation as SVG text; letters are drawn as paths, so that the PDF needs no font for them."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trabecula_service.validate.figures import rescan_pairs
from trabecula_service.validate.trial import LevelRow

_COLOURS = ("#24557a", "#2f8f6b", "#c98a1b", "#b3402e", "#6b4f9a", "#555555")
_LOSS_LIMITS = (0.20, 0.25, 0.40)


def height_plot(rows: Sequence[LevelRow]) -> str:
    """Difference over mean of measured and true heights, one colour per slice spacing."""
    figure, axes = _figure()
    for colour, (spacing, own) in zip(_COLOURS, _by_spacing(rows), strict=False):
        pairs = [pair for row in own for pair in _height_pairs(row)]
        if pairs:
            measured, true = np.array(pairs).T
            axes.plot((measured + true) / 2, measured - true, "o", ms=2.6, alpha=0.7, color=colour, mec="none", label=f"{spacing:g} mm")
    for limit in (-1.0, 1.0):
        axes.axhline(limit, color="#999999", lw=0.7, ls="--")
    axes.axhline(0.0, color="#333333", lw=0.7)
    _label(axes, "mean of measured and true height, mm", "measured - true, mm")
    return _svg(figure)


def loss_plot(rows: Sequence[LevelRow]) -> str:
    """Measured over true largest height loss, with the limits of the grades."""
    figure, axes = _figure()
    for colour, (spacing, own) in zip(_COLOURS, _by_spacing(rows), strict=False):
        pairs = [(row.true_loss, row.loss) for row in own if row.loss is not None]
        if pairs:
            true, measured = np.array(pairs).T
            axes.plot(100 * true, 100 * measured, "o", ms=2.6, alpha=0.7, color=colour, mec="none", label=f"{spacing:g} mm")
    for limit in _LOSS_LIMITS:
        axes.axhline(100 * limit, color="#bbbbbb", lw=0.6)
        axes.axvline(100 * limit, color="#bbbbbb", lw=0.6)
    axes.plot([0, 55], [0, 55], color="#333333", lw=0.7)
    _label(axes, "true largest loss, %", "measured largest loss, %")
    return _svg(figure)


def density_plot(rows: Sequence[LevelRow]) -> str:
    """Difference over mean of measured and true density of unfractured levels."""
    figure, axes = _figure()
    for colour, (spacing, own) in zip(_COLOURS, _by_spacing(rows), strict=False):
        dense = [r for r in own if r.true_grade == 0]
        pairs = [(r.density_mg_cm3, r.true_density_mg_cm3) for r in dense if r.density_mg_cm3 is not None]
        if pairs:
            measured, true = np.array(pairs).T
            axes.plot((measured + true) / 2, measured - true, "o", ms=2.6, alpha=0.7, color=colour, mec="none", label=f"{spacing:g} mm")
    axes.axhline(0.0, color="#333333", lw=0.7)
    _label(axes, "mean of measured and true density, mg/cm3", "measured - true, mg/cm3")
    return _svg(figure)


def rescan_plot(rows: Sequence[LevelRow]) -> str:
    """HU and heights of one vertebra scanned otherwise against the scan they should agree with, one column of dots per way of scanning."""
    pairs = rescan_pairs(rows)
    names = list(dict.fromkeys(pair.what for pair in pairs))
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    hu_axes, height_axes = figure.subplots(2, 1, sharex=True)
    for place, name in enumerate(names):
        own = [pair for pair in pairs if pair.what == name]
        hu = [percent for pair in own if (percent := pair.hu_percent()) is not None]
        heights = [difference for pair in own for difference in pair.height_differences_mm()]
        for axes, values in ((hu_axes, hu), (height_axes, heights)):
            # A little to the side of each other, evenly, so that equal values do not hide each other.
            spread = place + np.linspace(-0.25, 0.25, len(values))
            axes.plot(spread, values, "o", ms=2.4, alpha=0.7, color=_COLOURS[place % len(_COLOURS)], mec="none")
    for axes, limit, label in ((hu_axes, 1.5, "VOI, %"), (height_axes, 0.5, "heights, mm")):
        axes.axhline(0.0, color="#333333", lw=0.7)
        for side in (-limit, limit):
            axes.axhline(side, color="#999999", lw=0.7, ls="--")
        _label(axes, "", label)
    height_axes.set_xticks(range(len(names)), names)
    return _svg(figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 3.1), layout="constrained")
    return figure, figure.add_subplot()


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="slices", fontsize=7, title_fontsize=7, frameon=False, loc="best")


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    # A fixed salt and no date: the same figures give the same bytes.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "trabecula"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _by_spacing(rows: Sequence[LevelRow]) -> list[tuple[float, list[LevelRow]]]:
    return [(spacing, [r for r in rows if r.slice_spacing_mm == spacing]) for spacing in sorted({r.slice_spacing_mm for r in rows})]


def _height_pairs(row: LevelRow) -> list[tuple[float, float]]:
    measured = (row.anterior_mm, row.middle_mm, row.posterior_mm)
    true = (row.true_anterior_mm, row.true_middle_mm, row.true_posterior_mm)
    return [(own, wanted) for own, wanted in zip(measured, true, strict=True) if own is not None]
