"""The campaign of mutated pictures in short: some of two formats through `foveola index`."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "campaigns" / "pictures.py"


@pytest.mark.parametrize("kind", ["16-bit LZW TIFF", "DICOM window"])
def test_mutated_pictures_are_indexed_or_refused_within_bounds(kind):
    spec = importlib.util.spec_from_file_location("pictures", SCRIPT)
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    found = pictures.campaign(12, only=kind)
    assert found["wrong"] == []
    assert found["pictures"] == 12
    assert 0 < found["peak"] <= pictures.MOST_MEMORY
