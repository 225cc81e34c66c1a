"""The density against earlier ones of the same patient: which can be compared, what changed, and whether that is more than chance."""

from dataclasses import dataclass

from trabecula_calibration.density import Basis, Density
from trabecula_calibration.matching import kernel_family
from trabecula_calibration.physics import Material
from trabecula_calibration.trend import Change, Differences, NotComparable, change_between
from trabecula_service.result import PriorDensity, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendRow:
    """An earlier density and the change since then, or why there is none to tell."""

    prior: PriorDensity
    since: Change | NotComparable


def trend(result: Result) -> list[TrendRow]:
    """A row per earlier density, the oldest first; none where this study has no mean density."""
    density = result.density
    if density.mean_mg_cm3 is None or density.interval95 is None or density.material is None or density.basis == "none":
        return []
    now = Density(
        value_mg_cm3=density.mean_mg_cm3,
        interval95=density.interval95,
        material=Material(density.material),
        basis=Basis(density.basis),
    )
    return [
        TrendRow(prior=prior, since=change_between(_density(prior), now, _differences(prior, result)))
        for prior in result.priors
        if prior.basis != "none"
    ]


def latest_change(result: Result) -> tuple[PriorDensity, Change] | None:
    """The latest earlier density that can be compared, and the change since then."""
    comparable = [(row.prior, row.since) for row in trend(result) if isinstance(row.since, Change)]
    return comparable[-1] if comparable else None


def _density(prior: PriorDensity) -> Density:
    return Density(value_mg_cm3=prior.mean_mg_cm3, interval95=prior.interval95, material=Material(prior.material), basis=Basis(prior.basis))


def _differences(prior: PriorDensity, result: Result) -> Differences:
    """Unknown counts as different, so that it never makes a change significant."""
    now = result.acquisition
    same_device = prior.device_serial is not None and prior.device_serial == now.device_serial and prior.manufacturer == now.manufacturer
    same_kernel = prior.kernel is not None and now.kernel is not None and kernel_family(prior.kernel) == kernel_family(now.kernel)
    return Differences(
        other_scanner=not same_device,
        other_kvp=prior.kvp is None or prior.kvp != now.kvp,
        other_kernel=not same_kernel,
        other_voi=prior.voi_style != next((level.hu.style for level in result.levels if level.hu is not None), prior.voi_style),
        other_phase=prior.phase == "unknown" or prior.phase != now.contrast.phase,
    )
