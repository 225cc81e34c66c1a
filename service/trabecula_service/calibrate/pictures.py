"""Pictures for the physicist: what was found in a phantom scan, and the drift of a scanner in time."""

import io
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from trabecula_calibration.drift import DriftRules, DriftState
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.phantom_scan import EDGE_MARGIN_MM, PhantomReading
from trabecula_morphometry.volume import Volume

_GOOD, _BAD, _SEEN = "#1b7f4d", "#b3261e", "#1f5fa8"


def phantom_picture(volume: Volume, reading: PhantomReading, tube_voltage_kvp: float) -> bytes:
    """PNG of one phantom reading: the slice through its middle with every insert's wall and measured disc, and the fitted line."""
    figure = Figure(figsize=(9.6, 3.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    image, plot = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
    _draw_slice(image, volume, reading)
    _draw_line(plot, reading, tube_voltage_kvp)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_slice(axes: Any, volume: Volume, reading: PhantomReading) -> None:
    """The phantom's own cross-section, so that a tilted phantom is cut at right angles; stacked bodies are cut lengthwise."""
    definition, pose = reading.definition, reading.pose
    reach = max(abs(value) for insert in definition.inserts for value in insert.center_mm) * pose.scale + 40.0
    across = np.arange(-reach, reach, 0.8)
    half = reach if definition.stacked else max(45.0, definition.body_mm[1])
    other = np.arange(-half, half, 0.8)
    grid = np.zeros((len(other), len(across), 3))
    middle = 0.5 * sum(reading.length_mm)
    grid[..., 0] = across
    grid[..., 2 if definition.stacked else 1] = other[:, None]
    grid[..., 1 if definition.stacked else 2] = 0.0 if definition.stacked else middle
    hu = volume.sample(pose.to_lps(grid))
    low, high = (-150.0, max(400.0, max(r.mean_hu for r in reading.inserts.values()) + 100.0))
    axes.imshow(hu, cmap="gray", vmin=low, vmax=high, extent=(-reach, reach, half, -half), interpolation="bilinear")
    for insert in definition.inserts:
        center = pose.insert_center(insert)
        place = (center[0], center[2] if definition.stacked else center[1])
        ratio = reading.radius_mm / definition.inserts[0].radius_mm
        wall = insert.radius_mm * ratio
        axes.add_patch(Circle(place, wall, fill=False, color="#ffb000", linewidth=0.9))
        axes.add_patch(Circle(place, max(wall - EDGE_MARGIN_MM, 0.4 * wall), fill=False, color="#6fd3ff", linewidth=0.9))
        text = f"{insert.name}\n{reading.inserts[insert.name].mean_hu:.0f} HU"
        axes.annotate(text, (place[0], place[1] + wall + 2.0), color="white", ha="center", va="top", fontsize=7.5)
    axes.set(xlabel="across, mm", ylabel="along, mm" if definition.stacked else "down, mm")
    axes.set_title(f"{definition.title}: orange wall, blue measured disc; tilt {pose.tilt_deg:.1f} deg", fontsize=9)


def _draw_line(axes: Any, reading: PhantomReading, tube_voltage_kvp: float) -> None:
    line = reading.line
    names = [insert.name for insert in reading.definition.inserts]
    density = np.array([insert.density_mg_cm3 for insert in reading.definition.inserts])
    read = density + np.array([line.residuals_mg_cm3[name] for name in names])
    axes.plot(density, read - density, "o", color=_SEEN)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_ylim(-max(3.0, np.abs(read - density).max() * 1.3), max(3.0, np.abs(read - density).max() * 1.3))
    axes.set(xlabel=f"certificate, mg/cm3 {line.material.value}", ylabel="residual, mg/cm3")
    verdict = "accepted" if not reading.reasons else "refused"
    axes.set_title(
        f"{tube_voltage_kvp:g} kVp: {line.slope_mg_cm3_per_hu:.4f} x HU {line.intercept_mg_cm3:+.2f}, r2 {line.r2:.5f}, {verdict}",
        fontsize=9,
        color=_BAD if reading.reasons else _GOOD,
    )


def drift_chart(entry: CalibrationEntry, state: DriftState, rules: DriftRules, *, image_format: str = "svg") -> bytes:
    """Chart of an entry's QA readings with the action band and the CUSUM; "svg" or "png", the same bytes for the same series."""
    with rc_context({"svg.hashsalt": "trabecula"}):
        figure = Figure(figsize=(8.0, 4.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        readings, sums = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1.0))
        _draw_readings(readings, entry, state, rules)
        _draw_sums(sums, state, rules)
        figure.autofmt_xdate()
        stream = io.BytesIO()
        figure.savefig(stream, format=image_format, metadata={"Date": None} if image_format == "svg" else {"Software": None})
    return stream.getvalue()


def _draw_readings(axes: Any, entry: CalibrationEntry, state: DriftState, rules: DriftRules) -> None:
    target = state.target_mg_cm3
    days = [point.on for point in state.points]
    for relative, color in ((rules.action_relative, "#e0a000"), (rules.block_relative, _BAD)):
        for sign in (-1, 1):
            axes.axhline(target * (1 + sign * relative), color=color, linewidth=0.9, linestyle="--")
    axes.axhline(target, color="black", linewidth=0.8)
    axes.plot(days, [point.reading_mg_cm3 for point in state.points], "o-", color=_SEEN, markersize=4, linewidth=1.0)
    axes.set_ylabel(f"reads of 120\nmg/cm3 {entry.material.value}")
    axes.set_title(f"{entry.id} ({entry.kvp:g} kVp): {state.status.value}", fontsize=10)


def _draw_sums(axes: Any, state: DriftState, rules: DriftRules) -> None:
    days = [point.on for point in state.points]
    axes.plot(days, [point.cusum_up_sd for point in state.points], "-", color=_SEEN, label="upward")
    axes.plot(days, [-point.cusum_down_sd for point in state.points], "-", color="#7a4fb0", label="downward")
    for limit, color in ((rules.cusum_warn_sd, "#e0a000"), (rules.cusum_block_sd, _BAD)):
        for sign in (-1, 1):
            axes.axhline(sign * limit, color=color, linewidth=0.9, linestyle="--")
    axes.set_ylabel("CUSUM, SD")
    if days:
        axes.legend(loc="upper left", fontsize=7)
