from pathlib import Path

import pytest
from pydantic import BaseModel

from trabecula_morphometry.errors import SettingsError
from trabecula_service.settings.deliver import DESTINATION_KINDS
from trabecula_service.settings.model import Settings
from trabecula_service.settings.read import read_settings

ROOT = Path(__file__).resolve().parents[3]


def _keys(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    keys = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{prefix}{name}.")
        else:
            keys.append((f"{prefix}{name}", field.description or ""))
    return keys


def _all_keys() -> list[tuple[str, str]]:
    destinations = [(f"deliver.destinations.NAME.{name}", text) for kind in DESTINATION_KINDS for name, text in _keys(kind)]
    return _keys(Settings) + destinations


def _read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return read_settings(path)


def test_without_a_file_every_key_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRABECULA_CONFIG", raising=False)
    assert read_settings(None) == Settings()


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.toml").write_text("[receive]\nport = 104\n")
    monkeypatch.setenv("TRABECULA_CONFIG", str(tmp_path / "named.toml"))
    assert read_settings(None).receive.port == 104


def test_only_this_machine_may_send_and_look_at_first() -> None:
    settings = Settings()
    assert settings.receive.allowed_callers == ("127.0.0.0/8",)
    assert settings.api.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[receive]\nprt = 1\n", "receive.prt is not a setting"),
        ("[receive]\nport = 70000\n", "receive.port"),
        ('[receive]\nallowed_callers = ["somebody"]\n', "CT1@10.1.2.3"),
        ('[receive]\nallowed_callers = ["*"]\n', "everybody"),
        ('[receive]\nae_title = "A TITLE THAT IS TOO LONG"\n', "1 to 16"),
        ('[deliver.destinations.pacs]\nkind = "carrier-pigeon"\n', "carrier-pigeon"),
        ('[api]\nhost = "0.0.0.0"\n', "api.allow_remote"),
        ("receive = [\n", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace(".", r"\.").replace("*", r"\*")):
        _read(tmp_path, text)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "absent.toml")


def test_every_key_says_what_it_is() -> None:
    assert [key for key, text in _all_keys() if len(text) < 10] == []


@pytest.mark.parametrize("key", sorted({key for key, _ in _all_keys()}))
def test_every_key_is_in_the_documentation(key: str) -> None:
    section, _, name = key.rpartition(".")
    documented = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    heading = f"## `[{section}]`" if section else "## Top of the file"
    assert heading in documented
    assert f"`{name}`" in documented.split(heading)[1].split("\n## ")[0]
