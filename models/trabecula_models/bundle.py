"""Weights on disk: one MONAI bundle per network, checked against its SHA-256 when loaded.

A bundle is a folder: ``configs/metadata.json`` (MONAI's schema, and one part of ours), ``configs/inference.json`` (the network and how
MONAI alone can run it), ``models/model.safetensors`` and ``docs/README.md``. ``training/bundle_export.py`` writes it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trabecula_models.errors import ModelError, WeightsChangedError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

METADATA_FILE = Path("configs", "metadata.json")
INFERENCE_FILE = Path("configs", "inference.json")
WEIGHTS_FILE = Path("models", "model.safetensors")
README_FILE = Path("docs", "README.md")

OWN_PART = "trabecula"
"""Key of the metadata that holds what only we need; MONAI's schema allows further keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Where a network's weights are and what they expect.

    ``spacing_mm`` is the voxel size the network was trained at, ``patch_zyx`` the training patch in voxels, ``network`` the
    ``network_def`` of the inference configuration.
    """

    name: str
    weights_path: Path
    weights_sha256: str
    spacing_mm: float
    patch_zyx: tuple[int, int, int]
    network: dict[str, Any]

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level of the network."""
        return tuple(int(stride) for stride in self.network["strides"])

    @property
    def normed(self) -> bool:
        """Whether the network has instance norms; else none are left."""
        return self.network["norm"] is not None


def load_bundle(name: str, folder: Path = WEIGHTS_FOLDER) -> Bundle:
    """A network's description, after checking that the weights are the ones it names.

    Parameters
    ----------
    name : folder of the bundle inside ``folder``.

    Raises
    ------
    ModelError : the bundle is missing, incomplete or unreadable.
    WeightsChangedError : the weights' hash differs from the metadata's.
    """
    root = folder / name
    metadata, inference = (_read(root / path, name) for path in (METADATA_FILE, INFERENCE_FILE))
    weights_path = root / WEIGHTS_FILE
    try:
        own, network = metadata[OWN_PART], inference["network_def"]
        expected, spacing_mm = str(own["weights_sha256"]), float(own["spacing_mm"])
        z, y, x = (int(n) for n in own["patch_zyx"])
        found = file_sha256([weights_path])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise _missing(name) from error
    if found != expected:
        raise WeightsChangedError(
            f"the weights of the network '{name}' are not the ones its metadata names", where=name, hint="install the package again"
        )
    return Bundle(name=name, weights_path=weights_path, weights_sha256=found, spacing_mm=spacing_mm, patch_zyx=(z, y, x), network=network)


def file_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of one file, or of several files after each other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _missing(name) from error
    return content


def _missing(name: str) -> ModelError:
    return ModelError(
        f"the weights of the network '{name}' are missing or incomplete",
        where=name,
        hint="install the package with its weights, or train them: trabecula train",
    )
