"""A few rounds of the kill campaign."""

from campaigns import kills


def test_a_few_kills_lose_nothing(tmp_path):
    kills.make(tmp_path)
    names = ["remove", "forget", "backup", "accounts", "format", "C-STORE", "decisions"]
    told = kills.campaign(tmp_path, rounds=14, seed=1, names=names)
    assert told["faults"] == []
    assert told["rounds"] == 14
