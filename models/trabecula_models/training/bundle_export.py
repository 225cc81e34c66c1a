"""The text files of a MONAI bundle: what the network is, and how MONAI alone can run it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trabecula_models.bundle import INFERENCE_FILE, METADATA_FILE, OWN_PART, README_FILE, WEIGHTS_FILE, file_sha256
from trabecula_models.networks import CLASS_CHANNELS, INPUT_HIGH_HU, INPUT_LOW_HU, NetworkConfig, monai_definition
from trabecula_models.synthesis.scene_set import LICENCES, SCENES
from trabecula_models.synthesis.tissues import CLASS_NAMES
from trabecula_models.training.config import Task

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""The schema that ``monai.bundle verify_metadata`` checks against."""

LICENCE = "CC BY-SA 4.0"
AXES_CODE = "SPL"
"""MONAI's name of our axes [z, y, x]: the indices grow to superior, posterior, left."""

_CLASSES_AND = "seven classes and one further channel"

_TEXT: dict[Task, tuple[str, str]] = {
    Task.LOCATE: (
        "Find the vertebral column in a whole CT series",
        "vertebral level as VerSe index (T1 = 8 .. T12 = 19, L1 = 20 .. L5 = 24, S1 = 25); meaningful inside classes 1, 2 and 4",
    ),
    Task.DELINEATE: (
        "Outline vertebral bodies, posterior elements, discs, sacrum, ribs and hip bones in a CT crop around the column",
        "centre heat: Gaussian (sigma 6 mm, peak 1) at each body centre, linear output",
    ),
    Task.REFINE: (
        "Move the outline of one vertebral body to the edge of the bone",
        "logit of this body",
    ),
}
_VIEW = (
    "CT scaled from [-200, 1000] HU; CT scaled from [-150, 450] HU; margin of body of `delineate`; 1 in this body, -1 in others; "
    "probability of posterior elements of `delineate`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """What a bundle says about its weights. ``steps``, ``seed`` and ``note`` describe the training run."""

    task: Task
    spacing_mm: float
    patch_zyx: tuple[int, int, int]
    steps: int
    seed: int
    note: str = ""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    bundle_version: str = "1.0.0"


def write_bundle_texts(folder: Path, facts: ExportFacts) -> Path:
    """Write metadata, inference configuration and README beside the weights that ``folder`` holds; return the metadata's path."""
    metadata = bundle_metadata(facts, file_sha256([folder / WEIGHTS_FILE]))
    for path, content in (
        (METADATA_FILE, _json(metadata)),
        (INFERENCE_FILE, _json(inference_config(facts))),
        (README_FILE, _readme(facts, metadata)),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    return folder / METADATA_FILE


def bundle_metadata(facts: ExportFacts, weights_sha256: str) -> dict[str, Any]:
    """``metadata.json``: MONAI's fields, and ours under one key."""
    task, extra = _TEXT[facts.task]
    refines = facts.task is Task.REFINE
    channels = [extra] if refines else [*CLASS_NAMES, extra]
    used = sorted({part for scene in SCENES for part in scene if part})
    return {
        "schema": SCHEMA,
        "version": facts.bundle_version,
        "changelog": {facts.bundle_version: facts.note or "weights of this release"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in ("nibabel", "safetensors")},
        "name": f"trabecula {facts.task.value}",
        "task": task,
        "description": f"3D UNet at {facts.spacing_mm:g} mm: {extra if refines else f'{_CLASSES_AND} ({extra})'}.",
        "authors": "the Trabecula project",
        "copyright": LICENCE,
        "data_source": "synthetic CT made from public label volumes, real CT only where the note names it",
        "data_type": "nibabel",
        "image_classes": _VIEW if refines else "one channel, CT scaled to -1..1",
        "pred_classes": extra if refines else ", ".join(CLASS_NAMES),
        "intended_use": "A step of opportunistic bone screening; the masks guide measurements, they are not measurements.",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": facts.network.in_channels,
                    "spatial_shape": [f"{facts.network.multiple_voxels}*n"] * 3,
                    "dtype": "float32",
                    "value_range": [-1, 1],
                    "is_patch_data": True,
                    "channel_def": dict(zip("01234", _VIEW.split("; "), strict=True)) if refines else {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": facts.network.out_channels,
                    "spatial_shape": [f"{facts.network.multiple_voxels}*n"] * 3,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(index): name for index, name in enumerate(channels)},
                }
            },
        },
        OWN_PART: {
            "task": facts.task.value,
            "weights_sha256": weights_sha256,
            "spacing_mm": facts.spacing_mm,
            "patch_zyx": list(facts.patch_zyx),
            "axes": "z to superior, y to posterior, x to left (LPS)",
            "input": {
                "clip_hu": [INPUT_LOW_HU, INPUT_HIGH_HU],
                "scale": "(hu + 200) / 1200 * 2 - 1, float32",
                "padding_hu": -1024,
                "resampling": "averaged over blocks or blurred where the source is finer, then linear",
            },
            "training": {
                "sources": {name: LICENCES[name] for name in used},
                "steps": facts.steps,
                "seed": facts.seed,
                "weights": "exponential moving average",
                "note": facts.note,
            },
        },
    }


def inference_config(facts: ExportFacts) -> dict[str, Any]:
    """``inference.json``: how ``python -m monai.bundle run`` runs the network without our code."""
    return _view_inference(facts) if facts.task is Task.REFINE else _volume_inference(facts)


def _view_inference(facts: ExportFacts) -> dict[str, Any]:
    """Logits of every view (5, z, y, x) that lies as NumPy file in ``dataset_dir``."""
    return {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch", "$from safetensors.torch import load_file"],
        "bundle_root": ".",
        "weights": f"$@bundle_root + '/{WEIGHTS_FILE.as_posix()}'",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/output'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": monai_definition(facts.network),
        "network": "$@network_def.to(@device).eval()",
        "run": [
            "$torch.set_grad_enabled(False)",
            "$@network_def.load_state_dict(load_file(@weights))",
            "$os.makedirs(@output_dir, exist_ok=True)",
            "$[numpy.save(@output_dir + '/' + os.path.basename(path),"
            " @network(torch.from_numpy(numpy.load(path))[None].to(@device))[0].cpu().numpy())"
            " for path in sorted(glob.glob(@dataset_dir + '/*.npy'))]",
        ],
    }


def _volume_inference(facts: ExportFacts) -> dict[str, Any]:
    """Class labels of every NIfTI file of ``dataset_dir``."""
    return {
        "imports": ["$import glob", "$import torch", "$from safetensors.torch import load_file"],
        "bundle_root": ".",
        "weights": f"$@bundle_root + '/{WEIGHTS_FILE.as_posix()}'",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/output'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": monai_definition(facts.network),
        "network": "$@network_def.to(@device).eval()",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": AXES_CODE, "labels": None},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [facts.spacing_mm] * 3, "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": INPUT_LOW_HU,
                    "a_max": INPUT_HIGH_HU,
                    "b_min": -1.0,
                    "b_max": 1.0,
                    "clip": True,
                },
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*.nii*'))]",
            "transform": "@preprocessing",
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(facts.patch_zyx),
            "sw_batch_size": 1,
            "overlap": 0.5,
            "mode": "gaussian",
            "padding_mode": "constant",
            "cval": -1.0,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda channels: channels[:{CLASS_CHANNELS}]"},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "classes",
                    "output_dtype": "uint8",
                },
            ],
        },
        "run": [
            "$torch.set_grad_enabled(False)",
            "$@network_def.load_state_dict(load_file(@weights))",
            "$[@postprocessing({**item, 'pred': @inferer(item['image'][None].to(@device), @network)[0]}) for item in @dataset]",
        ],
    }


def _readme(facts: ExportFacts, metadata: dict[str, Any]) -> str:
    own = metadata[OWN_PART]
    refines = facts.task is Task.REFINE
    fed = metadata["image_classes"] if refines else f"HU clipped to [{INPUT_LOW_HU:g}, {INPUT_HIGH_HU:g}] and scaled to -1..1"
    files = (
        "the views (NumPy files of float32, five channels) of a folder"
        if refines
        else "the NIfTI files of a folder (class labels only; names and heights need Trabecula)"
    )
    return (
        f"# {metadata['name']}\n\n{metadata['task']}.\n\n{metadata['description']}"
        f"{'' if refines else ' Classes: ' + metadata['pred_classes'] + '.'}\n\n"
        f"Input at {facts.spacing_mm:g} mm, axes {own['axes']}: {fed}.\n\n"
        f"Licence of the weights: {LICENCE}. Trained on {metadata['data_source']}: {facts.steps} steps, seed {facts.seed}. {facts.note}\n\n"
        f"SHA-256 of `{WEIGHTS_FILE.as_posix()}`: `{own['weights_sha256']}`, checked at every load.\n\n"
        "Results and known failures: `MODEL_CARD.md` in the folder above.\n\n"
        f"MONAI alone can run it on {files}:\n\n"
        f"```\npython -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir DIR --output_dir DIR\n```\n"
    )


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
