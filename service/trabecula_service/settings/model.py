"""The whole of the settings file."""

from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from trabecula_service.settings.access import ApiSettings, AuthSettings
from trabecula_service.settings.backfill import BackfillSettings
from trabecula_service.settings.calibration import CalibrationSettings
from trabecula_service.settings.deliver import DeliverSettings, RetentionSettings
from trabecula_service.settings.log import LogSettings
from trabecula_service.settings.receive import ReceiveSettings, SeriesSettings
from trabecula_service.settings.storage import LedgerSettings, ObjectsSettings
from trabecula_service.settings.work import AnalysisSettings, WorkSettings


class Settings(BaseSettings):
    """The whole file: one table for each section."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    data: Path = Path("trabecula-data")
    """Folder with the ledger, the received objects and the results. It holds patient data: give it to the service's user alone."""
    receive: ReceiveSettings = ReceiveSettings()
    series: SeriesSettings = SeriesSettings()
    work: WorkSettings = WorkSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    deliver: DeliverSettings = DeliverSettings()
    retention: RetentionSettings = RetentionSettings()
    ledger: LedgerSettings = LedgerSettings()
    objects: ObjectsSettings = ObjectsSettings()
    backfill: BackfillSettings = BackfillSettings()
    api: ApiSettings = ApiSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _bucket_has_a_ledger(self) -> Self:
        if self.objects.url is not None and self.ledger.postgresql is None:
            raise ValueError("objects.url is for several machines and needs ledger.postgresql; one machine keeps everything in data")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: one file says everything, no variable in the environment changes it behind its back."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
