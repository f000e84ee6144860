"""The short form of the campaign of damage: every file of an archive, some rounds each."""

from campaigns import damage


def test_no_damage_to_a_file_of_an_archive_goes_untold(tmp_path):
    found = damage.campaign(tmp_path, damage.build(tmp_path), rounds=100)
    bad = {name: counts for name, counts in found.items() if counts["silent"] or counts["traceback"]}
    assert bad == {}
    assert sum(counts["error"] for counts in found.values()) > 40
    assert {
        "archive.sqlite",
        "trust.json",
        "encoder/familiarity.npz",
        "regions/slots.npy",
        "matching.toml",
        "matching-log.jsonl",
        "relevance.bin",
    } <= set(found)
