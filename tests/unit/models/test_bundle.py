"""A network's weights are a MONAI bundle that MONAI's own tools accept, and changed weights are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trabecula_models.bundle import INFERENCE_FILE, METADATA_FILE, WEIGHTS_FILE, WEIGHTS_FOLDER, file_sha256, load_bundle
from trabecula_models.errors import ModelError, WeightsChangedError
from trabecula_models.networks import NetworkConfig, build_network, config_from_definition, load_network
from trabecula_models.training.bundle_export import ExportFacts, write_bundle_texts
from trabecula_models.training.config import Task

# warnings of MONAI's own import and of its file readers are not ours
pytestmark = pytest.mark.filterwarnings("ignore")

REQUIRED_BY_MONAI = [
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("task", "description", "authors", "copyright", "network_data_format"),
]
TENSOR_KEYS_OF_MONAI = ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"]
"""What meta_schema_20240725.json of MONAI requires of a bundle and of each tensor."""

TINY = NetworkConfig(channels=(4, 8, 16), strides=(2, 2))


def make_bundle(folder: Path) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    (folder / WEIGHTS_FILE).parent.mkdir(parents=True)
    save_file(dict(build_network(TINY).state_dict()), folder / WEIGHTS_FILE)
    write_bundle_texts(
        folder, ExportFacts(task=Task.DELINEATE, spacing_mm=2.0, patch_zyx=(32, 32, 32), steps=7, seed=1, note="a test", network=TINY)
    )
    return folder


SHIPPED = ("locate", "delineate", "refine")


def monai_schema() -> dict[str, Any]:
    tensor = {"type": "object", "required": TENSOR_KEYS_OF_MONAI}
    tensors = {"type": "object", "additionalProperties": tensor}
    return {
        "type": "object",
        "required": REQUIRED_BY_MONAI,
        "properties": {
            **{name: {"type": "string"} for name in REQUIRED_BY_MONAI if name not in ("required_packages_version", "network_data_format")},
            "network_data_format": {
                "type": "object",
                "required": ["inputs", "outputs"],
                "properties": {"inputs": tensors, "outputs": tensors},
            },
        },
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_monai_verifies_the_metadata_of_the_shipped_weights(name: str, tmp_path: Path) -> None:
    from monai.bundle import verify_metadata

    # The schema file is there already, so MONAI does not fetch it; it has the requirements of the one that the metadata names.
    (tmp_path / "schema.json").write_text(json.dumps(monai_schema()))
    verify_metadata(meta_file=str(WEIGHTS_FOLDER / name / METADATA_FILE), filepath=str(tmp_path / "schema.json"))


def test_the_stand_in_for_monais_schema_can_fail(tmp_path: Path) -> None:
    from monai.bundle import verify_metadata

    metadata = json.loads((WEIGHTS_FOLDER / "locate" / METADATA_FILE).read_text())
    del metadata["network_data_format"]["inputs"]["image"]["dtype"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "schema.json").write_text(json.dumps(monai_schema()))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_monai_builds_the_shipped_network_and_loads_its_weights(name: str) -> None:
    from monai.bundle import ConfigParser
    from safetensors.torch import load_file

    parser = ConfigParser()
    parser.read_config(str(WEIGHTS_FOLDER / name / INFERENCE_FILE))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(load_file(WEIGHTS_FOLDER / name / WEIGHTS_FILE))
    bundle = load_bundle(name)
    assert sum(parameter.numel() for parameter in network.parameters()) > 3e5
    if name != "refine":  # which is fed views, not volumes
        steps = parser.get("preprocessing")["transforms"]
        assert [step["pixdim"] for step in steps if "pixdim" in step] == [[bundle.spacing_mm] * 3]
        assert tuple(parser.get("inferer")["roi_size"]) == bundle.patch_zyx


def test_monai_alone_runs_a_bundle_on_a_nifti_file(tmp_path: Path) -> None:
    import nibabel
    from monai.bundle import run

    folder = make_bundle(tmp_path / "bundle")
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    hu_zyx = rng.normal(100, 200, (32, 32, 32)).astype(np.float32)
    # x to the right and y to the front, as most NIfTI files: the bundle must turn it.
    nibabel.save(nibabel.Nifti1Image(hu_zyx.transpose(2, 1, 0)[::-1, ::-1], np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "in" / "ct.nii.gz")
    run(
        config_file=str(folder / INFERENCE_FILE),
        bundle_root=str(folder),
        dataset_dir=str(tmp_path / "in"),
        output_dir=str(tmp_path / "out"),
        device="$torch.device('cpu')",
    )
    torch.set_grad_enabled(True)  # the run turned it off
    written = nibabel.load(next((tmp_path / "out").rglob("*_classes.nii.gz")))
    scaled = np.clip((hu_zyx + 200) / 1200, 0, 1) * 2 - 1
    with torch.inference_mode():
        expected = load_network(folder)(torch.from_numpy(scaled.astype(np.float32))[None, None])[0, :7].argmax(0).numpy()
    codes = nibabel.aff2axcodes(written.affine)
    in_spl = nibabel.as_closest_canonical(written)
    assert len(codes) == 3
    found_zyx = np.asarray(in_spl.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    assert (found_zyx == expected).mean() > 0.999


def test_weights_that_are_not_the_named_ones_are_refused(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "net")
    bundle = load_bundle("net", tmp_path)
    assert bundle.weights_sha256 == file_sha256([folder / WEIGHTS_FILE])
    assert config_from_definition(bundle.network) == TINY
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(WeightsChangedError):
        load_bundle("net", tmp_path)


@pytest.mark.parametrize("lost", [METADATA_FILE, INFERENCE_FILE, WEIGHTS_FILE])
def test_an_incomplete_bundle_says_which_network_is_missing(tmp_path: Path, lost: Path) -> None:
    folder = make_bundle(tmp_path / "net")
    (folder / lost).unlink()
    with pytest.raises(ModelError, match="'net'"):
        load_bundle("net", tmp_path)


def test_export_writes_a_bundle_that_loads(tmp_path: Path) -> None:
    from trabecula_models.synthesis.scene_set import LICENCES, NECK_SCENES, SCENES
    from trabecula_models.training.config import TrainConfig
    from trabecula_models.training.export import export
    from trabecula_models.training.loop import new_state

    new_state(TrainConfig(task=Task.LOCATE, output_folder=tmp_path)).save(tmp_path)
    path = export(tmp_path / "checkpoint.pt", Task.LOCATE, 4.0, (64, 64, 64), tmp_path / "net", seed=5, note="short run")
    bundle = load_bundle("net", tmp_path)
    own = json.loads(path.read_text())["trabecula"]
    assert (bundle.spacing_mm, bundle.patch_zyx, own["training"]["seed"]) == (4.0, (64, 64, 64), 5)
    used = {part for scene in (*SCENES, *NECK_SCENES) for part in scene if part}
    assert own["training"]["sources"] == {name: LICENCES[name] for name in used}
    assert bundle.weights_sha256 in (tmp_path / "net" / "docs" / "README.md").read_text()
    assert sum(file.stat().st_size for file in WEIGHTS_FOLDER.rglob("*.safetensors")) < 30e6
