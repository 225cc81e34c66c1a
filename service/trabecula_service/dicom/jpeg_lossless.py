"""Decoder plugin for pydicom: JPEG Lossless (.57 and .70) by imagecodecs, the extra ``jpeg``.

Importing the module does nothing; ``register`` adds the plugin to pydicom's decoders. pydicom itself knows only a decoder under the
GPL and GDCM for this syntax, which many archives send.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from pydicom.pixels.decoders.base import DecodeRunner, JPEGLosslessDecoder, JPEGLosslessSV1Decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

_INSTALLED = find_spec("imagecodecs") is not None
"""Without the extra the syntax is refused by name."""

DECODER_DEPENDENCIES = {JPEGLossless: ("numpy", "imagecodecs"), JPEGLosslessSV1: ("numpy", "imagecodecs")}

_LABEL = "trabecula-imagecodecs"


def is_available(uid: str) -> bool:
    """Whether imagecodecs is installed (asked by pydicom)."""
    return _INSTALLED and uid in DECODER_DEPENDENCIES


def register() -> None:
    """Add the plugin to pydicom's two JPEG Lossless decoders; a second call changes nothing."""
    for decoder in (JPEGLosslessDecoder, JPEGLosslessSV1Decoder):
        if _LABEL not in (*decoder.available_plugins, *decoder._unavailable):
            decoder.add_plugin(_LABEL, (__name__, "decode_frame"))


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame (called by pydicom); a cut code stream raises."""
    import imagecodecs  # an extra, and slow to import: only when such an image comes

    image: np.ndarray[Any, Any] = imagecodecs.jpegsof3_decode(src)
    runner.set_option("bits_allocated", image.dtype.itemsize * 8)
    runner.set_option("planar_configuration", 0)
    return bytearray(np.ascontiguousarray(image).tobytes())
