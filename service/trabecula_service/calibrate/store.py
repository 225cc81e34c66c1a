"""The registry of one data folder, for commands that run beside the service."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trabecula_calibration.contrast_correction import ContrastCorrections
from trabecula_calibration.drift import DriftRules
from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.database import Ledger, ledger_place, open_ledger
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.settings.model import Settings
from trabecula_service.settings.read import read_settings


@contextmanager
def open_registry(config: Path | None, data: Path | None) -> Iterator[tuple[Ledger, DriftRules]]:
    """The ledger of the data folder that the settings name; made if missing. The service may run at the same time.

    Raises
    ------
    SettingsError : the settings are wrong or the folder cannot be made.
    """
    settings = read_settings(config, data=data)
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError("the data folder cannot be used", where=f"data = {settings.data}", hint=error.strerror or "") from error
    ledger = open_ledger(ledger_place(settings.ledger, settings.data), may_migrate=settings.ledger.migrate)
    try:
        yield ledger, drift_rules(settings)
    finally:
        ledger.close()


def calibration_policy(settings: Settings) -> CalibrationPolicy:
    """What the settings allow where densities are concerned."""
    chosen = settings.calibration
    return CalibrationPolicy(
        allow_estimate=chosen.allow_estimate,
        phantomless=chosen.phantomless,
        corrections=ContrastCorrections(
            arterial_mg_cm3=chosen.arterial_mg_cm3,
            portal_venous_mg_cm3=chosen.portal_venous_mg_cm3,
            delayed_mg_cm3=chosen.delayed_mg_cm3,
            residual_sd_mg_cm3=chosen.contrast_residual_sd_mg_cm3,
            apply=chosen.contrast_correction,
        ),
        rules=drift_rules(settings),
    )


def phantom_picture_path(data: Path, entry_id: str) -> Path:
    """Where the picture of an entry's phantom scan is kept for the page; named by a hash, because ids may hold any sign."""
    return data / "phantoms" / f"{hashlib.sha256(entry_id.encode()).hexdigest()[:24]}.png"


def keep_phantom_picture(config: Path | None, data: Path | None, entry_id: str, png: bytes) -> None:
    """Keep the picture of the phantom scan that an entry of the registry came from."""
    path = phantom_picture_path(read_settings(config, data=data).data.absolute(), entry_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(png)


def drift_rules(settings: Settings) -> DriftRules:
    """The drift limits of the settings."""
    chosen = settings.calibration
    return DriftRules(
        baseline_count=chosen.baseline_count,
        action_relative=chosen.action_percent / 100.0,
        block_relative=chosen.block_percent / 100.0,
        cusum_slack_sd=chosen.cusum_slack_sd,
        cusum_warn_sd=chosen.cusum_warn_sd,
        cusum_block_sd=chosen.cusum_block_sd,
        max_days_without_check=chosen.max_days_without_check,
    )
