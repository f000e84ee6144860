"""A Python function as encoder: index, search, and what is said where the function is missing."""

from pathlib import Path

import numpy as np
import pytest

from commands import foveola
from foveola import Contract, Retriever, add_missing
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import FunctionEncoder
from foveola.encoders.parts import Parts
from foveola.errors import ArchiveError, EncoderError
from foveola.images.decode import decode
from foveola.images.fundus import prepare

SMALL = Contract(size=32)


def colours(pixels):
    """(B, S, S, 3) uint8 -> (B, 48): mean colour of 16 squares."""
    b, s = pixels.shape[:2]
    return pixels.reshape(b, 4, s // 4, 4, s // 4, 3).mean(axis=(2, 4)).reshape(b, -1) + 1


def encoder_of(function=colours, **changes):
    said = {"name": "colours", "version": "1", "dimension": 48, "contract": SMALL} | changes
    return FunctionEncoder(function, **said)


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms).cases())


@pytest.fixture
def archive(tmp_path, cases):
    done = add_missing(tmp_path / "archive", cases[:20], encoder_of())
    assert (done.added, done.failed) == (20, ())
    return tmp_path / "archive"


def test_an_archive_is_made_added_to_and_searched_with_the_function(archive, cases):
    assert add_missing(archive, cases[:24], encoder_of()).added == 4
    with Retriever.open(archive, encoder_of()) as retriever:
        hits = retriever.search(Path(cases[30].path), 5).hits
    prepared = [prepare(decode(Path(case.path), min_side=SMALL.min_side), SMALL, case.eye) for case in cases]
    rows = colours(np.stack(prepared))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = [hit.case.image for hit in hits]
    others = [i for i in range(24) if cases[i].subject != cases[30].subject]
    best = sorted(others, key=lambda i: -(rows[i] @ rows[30]))[:5]
    assert found == [cases[i].image for i in best]
    assert hits[0].similarity == pytest.approx(rows[best[0]] @ rows[30], abs=1e-3)


def test_the_function_sees_one_photograph_at_a_time_from_one_thread(cases):
    seen, inside = [], []

    def watched(pixels):
        inside.append(1)
        seen.append((pixels.shape, pixels.dtype, len(inside)))
        inside.pop()
        return colours(pixels)

    assert len(list(encoder_of(watched, threads=4).encode_cases(cases[:8]))) == 8
    assert seen == [((1, 32, 32, 3), np.uint8, 1)] * 8


def test_the_fingerprint_is_of_name_version_dimension_and_contract():
    changes = [{}, {"name": "x"}, {"version": "2"}, {"dimension": 47}, {"contract": Contract()}]
    assert len({encoder_of(**change).fingerprint for change in changes}) == 5
    assert encoder_of(lambda pixels: pixels).fingerprint == encoder_of().fingerprint


def test_another_version_does_not_open_the_archive(archive, cases):
    with pytest.raises(ArchiveError, match="colours"):
        Retriever.open(archive, encoder_of(version="2"))
    with pytest.raises(ArchiveError, match="colours"):
        add_missing(archive, cases, encoder_of(version="2"))


def test_where_the_function_is_missing_a_sentence_says_whose_it_is(archive, cases):
    said = "encoder 'colours', version 1, is a Python function, of which .* holds only the name"
    with pytest.raises(EncoderError, match=said):
        Retriever.open(archive)
    with pytest.raises(EncoderError, match=said):
        add_missing(archive, cases)
    told = foveola("search", archive, cases[0].path, code=1).stderr
    assert "is a Python function" in told
    assert "colours" in foveola("info", archive).stdout


def test_what_the_function_must_not_give_is_told(cases):
    with pytest.raises(ValueError, match=r"gave \(1, 3\) for one photograph; expected \(1, 48\)"):
        encoder_of(lambda pixels: pixels.mean(axis=(1, 2))).encode(np.zeros((1, 32, 32, 3), "u1"))
    for number in (0, np.nan, np.inf):
        empty = encoder_of(lambda pixels, number=number: np.full((1, 48), number))
        failed = empty.encode_case(cases[0])
        assert "gives zeros, or what is no number" in failed.reason
    for wrong in ({"dimension": 1}, {"dimension": 8193}, {"version": ""}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            encoder_of(**wrong)
    with pytest.raises(EncoderError, match="is no name"):
        encoder_of(name="a/b")


def test_maps_need_a_network_that_foveola_runs():
    with pytest.raises(EncoderError, match="can't be taken apart"):
        Parts(encoder_of().release)
