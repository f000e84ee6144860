from foveola.datasets.manifest import MOST_FINDINGS, mark, render_data_card, summarise
from foveola.records import Case


def case(n, **values):
    return Case(image=f"{n}.png", path=f"/nowhere/{n}.png", **values)


CASES = [
    case(1, subject="mary", eye="left", grade=0, findings=frozenset("N"), extra={"age": 50}),
    case(2, subject="mary", eye="right", grade=2, findings=frozenset("DG"), extra={"age": 50}),
    case(3, subject="john", grade=2, extra={"age": None, "camera": "A"}),
    case(4),
]


def test_counts_by_hand():
    found = summarise(CASES)
    assert (found["images"], found["subjects"], found["subject_unknown"]) == (4, 2, 1)
    assert found["grades"] == {"0": 1, "2": 2, "unknown": 1}
    assert found["eyes"] == {"left": 1, "right": 1, "unknown": 2}
    assert found["findings"] == {"N": 1, "D": 1, "G": 1}
    assert found["columns"] == {"age": 2, "camera": 1}


def test_the_mark_knows_the_images_and_not_their_order():
    assert mark(CASES) == mark(CASES[::-1])
    assert mark(CASES) != mark(CASES[1:])
    assert mark(CASES) != mark([*CASES[1:], case(5)])


def test_rare_findings_are_counted_together():
    cases = [case(n, findings=frozenset({f"f{n}", "N"})) for n in range(MOST_FINDINGS + 2)]
    found = summarise(cases)["findings"]
    assert found["N"] == MOST_FINDINGS + 2
    assert found["3 others"] == 3
    assert sum(found.values()) == 2 * (MOST_FINDINGS + 2)


def test_the_data_card_names_no_subject_and_says_when_terms_are_unknown():
    card = render_data_card("clinic", summarise(CASES))
    assert "4 photographs of 2 subjects, and 1 images of unknown subjects" in card
    assert "| 2 | 2 |" in card
    assert "Not stated" in card
    assert "mary" not in card
    assert "CC BY" in render_data_card("clinic", summarise(CASES), "CC BY 4.0")


def test_an_empty_set_has_a_card():
    assert "0 photographs" in render_data_card("none", summarise([]))
