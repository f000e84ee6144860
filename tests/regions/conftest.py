"""An archive of phantoms that keeps its places."""

import shutil
from pathlib import Path

import pytest

from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.regions import RegionSearch, switch_on

ENCODER = "fundus-similarity-3"


@pytest.fixture(scope="session")
def kept(phantoms, tmp_path_factory) -> Path:
    """The folder of the archive. Not to be changed."""
    folder = tmp_path_factory.mktemp("regions") / "archive"
    # the encoder whose maps the figures of these tests were found with
    add_missing(folder, list(Manifest.read(phantoms, collection="p").cases()), ENCODER)
    done = switch_on(folder)
    assert (done.cases, done.added, done.failed) == (32, 32, ())
    return folder


@pytest.fixture
def own(kept, tmp_path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(kept, tmp_path / "archive")
    return tmp_path / "archive"


@pytest.fixture(scope="session")
def search(kept):
    with RegionSearch.open(kept) as opened:
        yield opened
