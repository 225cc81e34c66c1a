"""The files in deploy/ are what their readers expect: Kubernetes' own schemas, our settings, our commands."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from trabecula_morphometry.errors import SettingsError
from trabecula_service.cli.main import app
from trabecula_service.settings.read import read_settings

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.29", "1.37")
"""The oldest and the newest Kubernetes that the manifests are held against."""
MANIFESTS = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")


def _documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def _pods() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in MANIFESTS:
        for document in _documents(path):
            if document["kind"] in ("Deployment", "Job"):
                found.append((document["metadata"]["name"], document["spec"]["template"]["spec"]))
    return found


def _kustomizations() -> list[Path]:
    return sorted(KUBERNETES.rglob("kustomization.yaml"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_every_manifest_follows_the_schema_of_kubernetes(path: Path, version: str) -> None:
    for document in _documents(path):
        if not document["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_do_refuse(tmp_path: Path) -> None:
    wrong = _documents(KUBERNETES / "base" / "work.yaml")[0]
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("name", "pod"), _pods(), ids=[name for name, _ in _pods()])
def test_no_pod_runs_as_root_or_writes_outside_of_its_volumes(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    if name != "trabecula-migrate":
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@pytest.mark.parametrize(("name", "pod"), _pods(), ids=[name for name, _ in _pods()])
def test_every_pod_calls_a_command_that_exists(name: str, pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert container["args"][0] in commands
    known = {option for parameter in commands[container["args"][0]].params for option in parameter.opts}
    assert [argument for argument in container["args"] if argument.startswith("--") and argument not in known] == []


@pytest.mark.parametrize("path", _kustomizations(), ids=lambda path: path.parent.name)
def test_a_kustomization_names_all_files_of_its_folder(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    named = {Path(entry).name for entry in content["resources"]} | {
        file for generator in content.get("configMapGenerator", []) for file in generator["files"]
    }
    assert {file.name for file in path.parent.iterdir()} - {"kustomization.yaml"} <= named
    assert all((path.parent / entry).exists() for entry in content["resources"])


@pytest.mark.parametrize("path", _kustomizations(), ids=lambda path: path.parent.name)
def test_every_overlay_builds(path: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; no Debian package of it knows these kustomizations")
    built = subprocess.run(["kubectl", "kustomize", str(path.parent)], capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(built.stdout)]
    assert kinds.count("Deployment") >= 4


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.toml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_settings_file_can_be_read(path: Path) -> None:
    try:
        settings = read_settings(path)
    except SettingsError as error:
        pytest.fail(str(error))
    assert settings.data == Path("/data")
    assert settings.api.host == "0.0.0.0"


def test_the_queue_that_scales_the_workers_is_the_ledgers() -> None:
    scaled = next(d for d in _documents(KUBERNETES / "overlays" / "autoscale" / "scaled-work.yaml") if d["kind"] == "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    from trabecula_service.ledger.schema import jobs

    table, columns = re.search(r"FROM (\w+)", query), re.findall(r"(?:WHERE|AND) (\w+)", query)
    assert table is not None
    assert table[1] == jobs.name
    assert set(columns) <= set(jobs.c.keys())
    assert scaled["spec"]["scaleTargetRef"]["name"] == "trabecula-work"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cluster.yaml"])
def test_a_compose_file_starts_commands_that_exist_and_mounts_what_is_there(name: str) -> None:
    content = yaml.safe_load((DEPLOY / name).read_text())
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for service in content["services"].values():
        if "trabecula" in str(service.get("image", "trabecula")):
            assert service.get("command", ["serve"])[0] in commands
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith("./") else source in content["volumes"]


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_a_systemd_unit_starts_a_command_that_exists(path: Path) -> None:
    start = re.search(r"^ExecStart=/opt/trabecula/\.venv/bin/trabecula (\S+)$", path.read_text(), re.MULTILINE)
    assert start is not None
    roles = ("listen", "work", "deliver", "api") if start[1] == "%i" else (start[1],)
    assert set(roles) <= get_command(app).commands.keys()  # type: ignore[attr-defined]
    assert {"NoNewPrivileges=true", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0027"} <= set(path.read_text().splitlines())
