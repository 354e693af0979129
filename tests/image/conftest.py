"""The image that `make image-check` has built, for check_image.py."""

import json
import os
from pathlib import Path

import pytest

from tests.image.container import Image

#: Names the folder with the image's settings (settings.json), which name its root.
VARIABLE = "IMAGE_UNDER_CHECK"


@pytest.fixture(scope="session")
def image() -> Image:
    """The built image, taken apart."""
    folder = os.environ.get(VARIABLE)
    assert folder, "started by `make image-check`, which builds the image first"
    told = json.loads((Path(folder) / "image.json").read_text(encoding="utf-8"))
    return Image(Path(told["root"]), told["settings"])
