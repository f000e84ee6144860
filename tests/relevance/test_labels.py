"""Recorded labels as arrays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveola.relevance.labels import LabelTable, codes_of


def test_a_table_by_hand():
    table = LabelTable.of("findings", [{"D", "G"}, None, set(), {"D"}])
    assert table.values == ("D", "G")
    assert table.members.tolist() == [[True, True], [False, False], [False, False], [True, False]]
    assert table.known.tolist() == [True, False, True, True]
    assert table.link == "sigmoid"
    assert LabelTable.of("grade", []).link == "softmax"
    assert LabelTable.of("a column", [None]).values == ()


def test_some_of_the_values():
    findings = LabelTable.of("findings", [{"D", "G"}, None, {"G"}]).of_values(("X", "D"))
    assert findings.members.tolist() == [[False, True], [False, False], [False, False]]
    assert findings.known.tolist() == [True, False, True]  # the third lacks both, and is known to
    grades = LabelTable.of("grade", [{"1"}, {"2"}, None]).of_values(("0", "2"))
    assert grades.members.tolist() == [[False, False], [False, True], [False, False]]
    assert grades.known.tolist() == [False, True, False]


def test_some_of_the_rows():
    table = LabelTable.of("grade", [{"1"}, {"2"}, None])
    for chosen in (np.array([2, 0]), np.array([True, False, True])):
        some = table.rows(chosen)
        assert some.values == ("1", "2")
        assert some.known.tolist() == table.known[chosen].tolist()


@given(st.lists(st.integers(0, 9)))
def test_codes_count_from_the_first(identities):
    codes = codes_of(identities)
    seen = []
    for identity, code in zip(identities, codes.tolist(), strict=True):
        if identity not in seen:
            seen.append(identity)
        assert seen.index(identity) == code
