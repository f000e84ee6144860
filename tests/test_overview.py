"""The map of an archive's descriptors."""

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.overview import Overviews, project
from foveola.records import Case


def test_points_on_a_cross_by_hand():
    # Along the first axis from -2 to 2, along the second from -1 to 1, nothing along the third.
    matrix = np.array([[2, 0, 5], [-2, 0, 5], [0, 1, 5], [0, -1, 5]], np.float32)
    places, share = project(matrix)
    wanted = [[1, 0.5], [0, 0.5], [0.5, 0.75], [0.5, 0.25]]
    assert places == pytest.approx(np.array(wanted), abs=1e-6)
    assert share == pytest.approx(1.0)


def test_the_share_of_the_variance():
    # Variances 9, 4 and 1 along three axes: two of them show 13 of 14.
    rows = [s * scale * np.eye(3)[axis] for axis, scale in enumerate((3, 2, 1)) for s in (1, -1)]
    assert project(np.array(rows, np.float32))[1] == pytest.approx(13 / 14)


@pytest.mark.parametrize("matrix", [np.empty((0, 4)), np.ones((1, 4)), np.ones((5, 4))])
def test_without_anything_to_tell_apart_all_lie_in_the_middle(matrix):
    places, share = project(matrix.astype(np.float32))
    assert (places == 0.5).all()
    assert share == 0


def entry(i, grade, rng):
    vector = rng.normal(size=3)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    case = Case(image=f"{i}", path=f"/{i}", grade=grade)
    return Entry(case=case, digest=bytes(16), size=1, descriptor=vector, mtime_ns=1)


def test_it_follows_the_archive_and_is_kept_until_that_changes(tmp_path):
    rng = np.random.default_rng(0)
    with Archive.create(tmp_path / "A", encoder="e", fingerprint="f", dimension=3) as archive:
        archive.add([entry(i, grade, rng) for i, grade in enumerate([0, None, 4])])
        drawn = Overviews(archive)
        first = drawn.get()
        assert drawn.get() is first
        assert first.grades.tolist() == [0, -1, 4]
        data = first.packed()
        assert len(data) == 9 * 3
        assert np.frombuffer(data, "<u4", 3).tolist() == first.ids.tolist()
        x = np.frombuffer(data, "<u2", 3, offset=12)
        assert x == pytest.approx(first.places[:, 0] * 65535, abs=0.5)
        assert np.frombuffer(data, "i1", 3, offset=24).tolist() == [0, -1, 4]
        archive.add([entry(7, 2, rng)])
        assert drawn.get().grades.tolist() == [0, -1, 4, 2]
