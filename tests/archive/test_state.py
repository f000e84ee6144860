"""Several questions to one state of an archive."""

import numpy as np

from foveola.archive import Photographed


def test_a_state_answers_row_by_row(clinic):
    cases = [case for _, case in clinic.cases()]
    ids, matrix = clinic.vectors()
    with clinic.state() as state:
        assert state.ids is ids
        assert state.matrix is matrix
        assert state.photographed() == [Photographed(c.subject, c.collection, c.visit, c.eye) for c in cases]
        assert state.matching(None).all()
        assert state.matching("grade >= 2").tolist() == [(c.grade or 0) >= 2 for c in cases]
        own = state.of_identity(cases[0].identity)
        assert own.tolist() == [c.identity == cases[0].identity for c in cases]
        assert not state.of_identity(None).any()
        assert state.of_ids([int(ids[2])]).tolist() == (np.arange(len(ids)) == 2).tolist()
        assert state.cases([3, 1]) == [cases[3], cases[1]]


def test_of_ids_are_those_that_are_there(clinic):
    clinic.remove(image="b1.jpg")
    with clinic.state() as state:
        for wanted in ([], [1], [3], [0, 2, 99], [6, 6, 1], [-1]):
            expected = [id_ in wanted for id_ in state.ids.tolist()]
            assert state.of_ids(wanted).tolist() == expected
