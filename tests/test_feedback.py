"""More like these, less like that."""

import numpy as np
import pytest

from foveola.errors import ArchiveError
from foveola.retrieval import Marks, Retriever
from foveola.retrieval.results import LESS, MORE, moved

X, Y = np.eye(2, dtype=np.float32)


def test_by_hand():
    # (1, 0) + .75 (0, 1) - .15 (1, 0) = (.85, .75), of length sqrt(1.285)
    found = moved(X, Y[None], X[None], towards=0.75, away=0.15)
    assert found == pytest.approx(np.array([0.85, 0.75]) / np.sqrt(1.285))
    assert found.dtype == np.float32


def test_without_marks_nothing_moves():
    none = np.empty((0, 2), np.float32)
    assert (moved(X, none, none) == X).all()


def test_where_nothing_is_left_the_query_stays():
    assert (moved(X, np.empty((0, 2), np.float32), X[None], away=1.0) == X).all()
    with pytest.raises(ValueError, match="at least 0"):
        moved(X, Y[None], Y[None], away=-1)


def test_what_is_marked_both_ways_counts_in_neither():
    assert Marks((3, 1, 3), (1, 2)).plain == Marks((3,), (2,))
    assert Marks((3, 1), (1, 2)).all == {1, 2, 3}


@pytest.fixture(scope="module")
def retriever(phantoms, tmp_path_factory):
    from foveola.datasets.manifest import Manifest
    from foveola.indexing import add_missing

    folder = tmp_path_factory.mktemp("feedback") / "A"
    add_missing(folder, list(Manifest.read(phantoms, collection="p").cases()))
    with Retriever.open(folder) as opened:
        yield opened


def test_marks_move_the_search_and_are_left_out(retriever):
    from pathlib import Path

    path = Path(retriever.archive.case(5).path)
    query = retriever.embed(path.read_bytes(), "q", path=str(path))
    plain = retriever.search_query(query, 32)
    marks = Marks(more=(plain.hits[-1].id, plain.hits[-2].id), less=(plain.hits[0].id,))
    found = retriever.search_query(query, 32, marks=marks)
    assert not {hit.id for hit in found.hits} & marks.all
    assert found.considered == plain.considered - 3
    ids, matrix = retriever.archive.vectors()
    rows = {id_: row for row, id_ in enumerate(ids.tolist())}
    wanted = query.descriptor.astype(float)
    wanted += MORE * (matrix[rows[marks.more[0]]] + matrix[rows[marks.more[1]]]) / 2
    wanted -= LESS * matrix[rows[marks.less[0]]]
    wanted /= np.linalg.norm(wanted)
    for hit in found.hits:
        assert hit.similarity == pytest.approx(float(matrix[rows[hit.id]] @ wanted), abs=1e-5)
        assert hit.trust is None
    with pytest.raises(ArchiveError, match="no case with the id 999"):
        retriever.search_query(query, 3, marks=Marks(more=(999,)))
