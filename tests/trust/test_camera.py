"""A photograph by a camera that the archive does not know is told to be one."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicoms import to_bytes, with_pixels
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.indexing import add_missing
from foveola.retrieval import Retriever


@pytest.fixture
def folder(phantoms, tmp_path):
    add_missing(tmp_path / "A", list(Manifest.read(phantoms, collection="p").cases())[:4])
    return tmp_path / "A"


@pytest.fixture(scope="module")
def photograph(phantoms):
    """By a Topcon, as DICOM."""
    case = list(Manifest.read(phantoms).cases())[8]
    made = with_pixels(decode(Path(case.path)), Manufacturer="TOPCON", ManufacturerModelName="TRC-NW8")
    return to_bytes(made)


def unknown(retriever, data):
    query = retriever.embed(data, "x")
    return retriever.search_query(query).trust.looks.camera


def recorded(folder, camera):
    with Archive.open(folder) as archive:
        archive.update_records([replace(case, extra={**case.extra, "camera": camera}) for _, case in archive.cases()])


def test_only_where_the_archive_records_others(folder, photograph, phantoms):
    recorded(folder, "Canon CR-2")
    with Retriever.open(folder) as retriever:
        assert unknown(retriever, photograph) == "Topcon TRC-NW8"
        plain = Path(next(Manifest.read(phantoms).cases()).path).read_bytes()
        assert unknown(retriever, plain) is None  # a JPEG says nothing of its camera
        assert unknown(retriever, photograph) == "Topcon TRC-NW8"
        recorded(folder, "Topcon TRC-NW8")  # by another process, as it were
        assert unknown(retriever, photograph) is None


def test_an_archive_that_records_no_camera_says_nothing(folder, photograph):
    with Archive.open(folder) as archive:
        archive.update_records([replace(case, extra={"a": 1}) for _, case in archive.cases()])
    with Retriever.open(folder) as retriever:
        assert unknown(retriever, photograph) is None
