"""Every answer has one form: documented, described by a schema, and the same after a way through JSON."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from foveola import answers
from foveola.answers import Hit, LocalCase, SearchAnswer, StoredCase, local_case
from foveola.archive import ArchiveInfo
from foveola.errors import ServiceError
from foveola.records import Case
from foveola.serial import Answer, described, to_plain

KINDS = {
    kind.__name__: kind
    for kind in [*vars(answers).values(), ArchiveInfo]
    if isinstance(kind, type) and issubclass(kind, Answer) and is_dataclass(kind)
}
DOCS = (Path(__file__).parents[1] / "docs/reference/json.md").read_text(encoding="utf-8").partition("## Answers")[2]
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| `(\w+)` \|.*\| (.*) \|$", DOCS, re.M)}


@pytest.mark.parametrize("name", KINDS)
def test_the_manual_names_every_field_of_an_answer(name):
    assert re.findall(r"`(\w+)`", ROWS[name]) == [each.name for each in fields(KINDS[name])]


def test_the_manual_names_no_answer_that_there_is_not():
    assert ROWS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_the_schema_of_an_answer_has_its_fields_and_their_meaning(name):
    schema = TypeAdapter(KINDS[name]).json_schema(mode="serialization")
    assert list(schema["properties"]) == [each.name for each in fields(KINDS[name])]
    told = {key for key, value in schema["properties"].items() if value.get("description")}
    assert told == set(described(KINDS[name])[1])
    assert "Attributes" not in schema["description"]


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"Share"}))
def test_the_docstring_of_an_answer_explains_each_field(name):
    _, meant = described(KINDS[name])
    assert meant.keys() >= {each.name for each in fields(KINDS[name])}


# A case and a search of it

CASE = Case(image="anna.jpg", path="/scans/anna.jpg", subject="7", findings=frozenset({"H", "D"}), extra={"age": 61})


def searched(case):
    trust = answers.QueryTrust(None, 1 / 3, None, 0.1, True, answers.Looks(0.5, False))
    return SearchAnswer(
        hits=(Hit(1, 0.123456789, 1 / 3, case, None),),
        order="looks",
        label=None,
        recorded=None,
        considered=1,
        excluded_same_subject=0,
        in_archive=False,
        gradability=0.98765,
        trust=trust,
        sentences=("one",),
        where=None,
        encoder="e",
        fingerprint="f",
        milliseconds=1.23456,
    )


def test_a_stored_case_names_no_file_and_a_local_one_does():
    stored = StoredCase.from_object(CASE, id=3)
    assert "anna" not in json.dumps(stored.to_dict())
    assert stored.to_dict()["findings"] == ["D", "H"]
    assert local_case(3, CASE).to_dict() == stored.to_dict() | {"image": "anna.jpg", "path": "/scans/anna.jpg"}


def test_numbers_have_the_decimals_of_their_field():
    said = searched(local_case(3, CASE)).to_dict()
    assert (said["hits"][0]["similarity"], said["hits"][0]["score"]) == (0.123457, 0.333333)
    assert (said["gradability"], said["milliseconds"]) == (0.9877, 1.23)
    assert said["trust"]["nearest"] == 0.333333


def test_an_answer_comes_back_from_json_as_it_was_sent():
    sent = searched(StoredCase.from_object(CASE, id=3))
    said = json.loads(json.dumps(sent.to_dict(), allow_nan=False))
    TypeAdapter(SearchAnswer).validate_python(said)
    back = SearchAnswer.from_dict(said | {"newer": 1})
    assert back.hits[0].case == sent.hits[0].case
    assert back.to_dict() == said


@pytest.mark.parametrize("lost", ["hits", "trust"])
def test_what_lacks_a_field_is_no_answer(lost):
    said = searched(StoredCase.from_object(CASE, id=3)).to_dict()
    del said[lost]
    with pytest.raises(ServiceError, match="is no SearchAnswer"):
        SearchAnswer.from_dict(said)


def test_the_rules_hold_for_what_numpy_and_paths_are():
    value = {"a": np.array([1.25, np.nan]), "b": np.float32(0.5), "c": Path("x"), 1: np.int64(2), "d": {"z", "a"}}
    assert to_plain(value, 1) == {"a": [1.2, None], "b": 0.5, "c": "x", "1": 2, "d": ["a", "z"]}
    assert to_plain(float("inf")) is None
    assert to_plain([True, 7, None, "x"], 2) == [True, 7, None, "x"]
    assert issubclass(LocalCase, StoredCase)
