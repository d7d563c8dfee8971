"""Images with random pixels, in any mode."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

_CHANNELS = {"RGBA": 4, "RGBa": 4, "LA": 2, "La": 2}


@pytest.fixture
def noise():
    """noise(mode, (width, height)) -> an image with random pixels of all values."""

    def make(mode, size=(37, 53), seed=0):
        random = np.random.default_rng(seed)
        width, height = size
        if mode.startswith("I;16"):
            values = random.integers(0, 1 << 16, (height, width), dtype=np.uint16)
            return Image.frombytes(mode, size, values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
        if mode == "PA":
            return make("RGBA", size, seed).convert("PA")
        pixels = random.integers(0, 256, (height, width, _CHANNELS.get(mode, 3)), dtype=np.uint8)
        if mode in _CHANNELS:
            return Image.frombytes(mode, size, pixels.tobytes())
        return Image.fromarray(pixels).convert(mode)

    return make
