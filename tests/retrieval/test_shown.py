"""Results as they are printed, shown in a notebook and made a DataFrame: no person, no file."""

import base64
import re
import sys
from dataclasses import replace

import pytest

from foveola import Retriever, decode
from foveola.errors import MissingExtraError
from foveola.notebook import PICTURED


@pytest.fixture(scope="module")
def retriever(learnt):
    with Retriever.open(learnt) as opened:
        yield opened


@pytest.fixture(scope="module")
def result(retriever, new_photographs):
    return retriever.search(new_photographs[0], k=3)


@pytest.fixture(scope="module")
def people(retriever, new_photographs):
    return retriever.search_person(*new_photographs[:2], k=3)


def pictures(html):
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [decode(base64.b64decode(one)) for one in found]


def test_a_result_is_the_sequence_of_its_hits(result):
    assert list(result) == list(result.hits)
    assert len(result) == 3
    assert result[0] is result.hits[0]
    assert result[-1].rank == 3
    assert result[1:] == result.hits[1:]


def test_a_result_prints_as_a_table_with_what_is_to_be_known(result):
    lines = repr(result).splitlines()
    assert lines[0].split()[:5] == ["rank", "id", "similarity", "grade", "findings"]
    for line, hit in zip(lines[1:4], result, strict=True):
        assert line.split()[:3] == [str(hit.rank), str(hit.id), f"{hit.similarity:+.4f}"]
    for sentence in result.sentences:
        assert sentence in repr(result)
    assert lines[-1] == "80 cases compared; ordered by the archive's labels (grade), looks second."


def test_a_notebook_shows_the_pictures(result, people):
    assert [one.shape for one in pictures(result._repr_html_())] == [(160, 160, 3)] * 3
    assert len(pictures(people._repr_html_())) == sum(len(hit.cases) for hit in people)


def test_what_the_camera_printed_beside_the_retina_is_not_shown(result, monkeypatch):
    from foveola.retrieval import results

    asked = []
    monkeypatch.setattr(results, "thumbnail", lambda *_, mask: asked.append(mask))
    assert "no picture" in result._repr_html_()
    assert asked == [True] * 3


def test_a_long_result_shows_the_first_pictures(retriever, new_photographs):
    result = retriever.search(new_photographs[0], k=PICTURED + 5)
    html = result._repr_html_()
    assert html.count("<img") == PICTURED
    assert html.count("<tr>") == PICTURED + 6


def test_nothing_found_is_shown(retriever, new_photographs):
    result = retriever.search(new_photographs[0], where="grade = 4 and grade = 3")
    assert len(result) == 0
    assert "rank" in repr(result)
    assert "<img" not in result._repr_html_()
    assert list(result.to_frame()) == ["rank", "id", "similarity", "score", "grade", "findings"]


def test_no_person_and_no_file_is_shown(result, people):
    shown = [repr(each) for each in (result, people, list(result), list(people))]
    shown += [each._repr_html_() for each in (result, people)]
    shown += [each.to_frame().to_csv() for each in (result, people)]
    cases = [hit.case for hit in result] + [c for hit in people for c in hit.cases.values()]
    for case in [*cases, result.query, *people.query.values()]:
        for secret in (case.subject, case.path, case.image, case.image.rpartition("/")[2]):
            assert secret is None or all(secret not in text for text in shown)


def test_records_are_given_to_who_asks_for_them(result):
    frame = result.to_frame(records=True)
    assert list(frame["subject"]) == [hit.case.subject for hit in result]
    assert list(frame["path"]) == [hit.case.path for hit in result]
    assert list(frame["rank"]) == [1, 2, 3]
    assert set(result[0].case.extra) <= set(frame)


def test_text_of_a_manifest_is_escaped(result):
    case = replace(result[0].case, findings=frozenset({"<img src=x onerror=alert(1)>"}))
    planted = replace(result, hits=(replace(result[0], case=case),))
    assert "<img src=x" not in planted._repr_html_()
    assert "&lt;img src=x" in planted._repr_html_()


def test_text_of_a_manifest_steers_no_terminal(result):
    case = replace(result[0].case, findings=frozenset({"\x1b[2J"}))
    planted = replace(result, hits=(replace(result[0], case=case),))
    for shown in (repr(planted), repr(planted[0])):
        assert "\x1b" not in shown
        assert "[2J" in shown


def test_people_print_as_a_table(people):
    lines = repr(people).splitlines()
    assert lines[0].split() == ["rank", "left", "right", "similarity", "grade", "findings"]
    assert lines[1].split()[1:3] == [str(people[0].ids["left"]), str(people[0].ids["right"])]
    assert "people compared." in repr(people)
    assert list(people.to_frame()["left"]) == [hit.ids["left"] for hit in people]


def test_a_frame_asks_for_pandas_in_one_sentence(result, people, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for each in (result, people):
        with pytest.raises(MissingExtraError, match="to_frame needs pandas"):
            each.to_frame()
