"""Matching is off until someone says what for, and every use is written down."""

import errno

import pytest

from foveola.errors import MatchingError
from foveola.matching import permission
from foveola.matching.saved_audit import decide, decisions


def test_it_is_off_until_it_is_switched_on(tmp_path):
    with pytest.raises(MatchingError, match=r"is switched off .* foveola matching on"):
        permission.permission(tmp_path)
    permission.switch_on(tmp_path, "duplicates of registry R")
    allowed = permission.permission(tmp_path)
    assert allowed.purpose == "duplicates of registry R"
    assert allowed.by
    permission.switch_off(tmp_path)
    permission.switch_off(tmp_path)
    with pytest.raises(MatchingError, match="is switched off"):
        permission.permission(tmp_path)
    assert [use["action"] for use in permission.read_log(tmp_path)] == ["switched on", "switched off"]


@pytest.mark.parametrize("purpose", ["", "   ", "x" * 501])
def test_a_purpose_that_says_nothing_is_refused(tmp_path, purpose):
    with pytest.raises(MatchingError, match="expected a sentence"):
        permission.switch_on(tmp_path, purpose)
    assert not list(tmp_path.iterdir())


def test_what_is_allowed_is_in_the_log_even_where_the_disk_fills_up(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(permission.files, "write_toml", full)
    with pytest.raises(OSError, match="No space"):
        permission.switch_on(tmp_path, "duplicates of registry R")
    assert [use["action"] for use in permission.read_log(tmp_path)] == ["switched on"]
    with pytest.raises(MatchingError, match="is switched off"):
        permission.permission(tmp_path)


def test_settings_that_were_tampered_with_are_no_permission(tmp_path):
    (tmp_path / permission.SETTINGS).write_text("purpose = 7\n")
    with pytest.raises(MatchingError, match="purpose: expected str"):
        permission.permission(tmp_path)
    (tmp_path / permission.SETTINGS).write_text('purpose = ""\n')
    with pytest.raises(MatchingError, match="expected a sentence"):
        permission.permission(tmp_path)


def test_each_use_is_one_line_and_a_line_cut_short_hides_no_other(tmp_path):
    permission.log_use(tmp_path, "match", query="ab12", candidates=20)
    with (tmp_path / permission.LOG).open("a") as file:
        file.write('{"time": "2026-')
    permission.log_use(tmp_path, "match", query="cd34")
    uses = permission.read_log(tmp_path)
    assert [use["action"] for use in uses] == ["match", permission.UNREADABLE, "match"]
    assert (uses[1]["line"], uses[2]["query"]) == (2, "cd34")
    assert {k: uses[0][k] for k in ("action", "query", "candidates")} == {
        "action": "match",
        "query": "ab12",
        "candidates": 20,
    }
    assert uses[0]["time"].endswith("+00:00")


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_use_that_was_changed_or_cut_off_is_told(tmp_path, place):
    for query in ("ab12", "cd34", "ef56"):
        permission.log_use(tmp_path, "match", query=query)
    log = tmp_path / permission.LOG
    whole, told = log.read_bytes(), permission.read_log(tmp_path)
    place %= len(whole)
    log.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    said = {use["action"] for use in permission.read_log(tmp_path)}
    assert permission.UNREADABLE in said or permission.read_log(tmp_path) == told
    log.write_bytes(whole[:place])
    assert permission.read_log(tmp_path)[-1]["action"] == permission.MISSING
    log.write_bytes(whole[: whole.index(b"\n") + 1])  # whole lines were cut off
    assert permission.read_log(tmp_path)[-1]["action"] == permission.MISSING


@pytest.mark.parametrize("cut", [0, 5, 40, 70, 100])
def test_settings_that_were_cut_off_are_no_permission(tmp_path, cut):
    permission.switch_on(tmp_path, "duplicates of registry R")
    path = tmp_path / permission.SETTINGS
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MatchingError):
        permission.permission(tmp_path)


def test_what_cannot_be_logged_is_not_done(tmp_path):
    (tmp_path / permission.LOG).mkdir()
    with pytest.raises(MatchingError, match="matching without a log is not allowed"):
        permission.log_use(tmp_path, "match")


def test_the_last_decision_counts_and_open_raises_it_again(tmp_path):
    decide(tmp_path, "0123456789ab", "wrong", "swapped by the clerk")
    decide(tmp_path, "ba9876543210", "right")
    with (tmp_path / "audit-decisions.jsonl").open("a") as file:
        file.write('{"key": "0123')
    assert {k: d.verdict for k, d in decisions(tmp_path).items()} == {"0123456789ab": "wrong", "ba9876543210": "right"}


def test_decisions_can_be_taken_back(tmp_path):
    decide(tmp_path, "0123456789ab", "wrong")
    decide(tmp_path, "0123456789ab", "open")
    assert decisions(tmp_path) == {}
    assert len((tmp_path / "audit-decisions.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("key", "verdict", "note", "sentence"),
    [
        ("../etc", "wrong", "", "is no finding; expected 12 letters"),
        ("0123456789ab", "maybe", "", "expected wrong, right, unsure, open"),
        ("0123456789ab", "right", "x" * 501, "the note has 501 characters"),
    ],
)
def test_senseless_decisions_are_refused(tmp_path, key, verdict, note, sentence):
    with pytest.raises(MatchingError, match=sentence):
        decide(tmp_path, key, verdict, note)
    assert not list(tmp_path.iterdir())
