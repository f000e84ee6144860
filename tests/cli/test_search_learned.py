"""A search of an archive that learnt from its labels, in a process of its own."""

import json
import subprocess
import sys

import pytest

import refused


def search(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "foveola", "search", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def told(*arguments):
    result = search(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_suggestion_comes_first_and_the_order_is_named(learnt, new_photographs):
    result = search(learnt, new_photographs[0], "-k", 6)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("Of 100 photographs like this, ")
    assert "ordered by the archive's labels (grade), looks second" in result.stderr
    assert " of 6 hits" in result.stderr
    assert len(result.stdout.splitlines()) == 7


def test_json_has_order_score_and_shares(learnt, new_photographs):
    said = told(learnt, new_photographs[0], "-k", 6)
    assert (said["order"], said["label"]) == ("learned", "grade")
    assert said["recorded"] == sum(hit["case"]["grade"] is not None for hit in said["hits"])
    assert all(round(hit["score"], 6) == hit["score"] for hit in said["hits"])
    shares = said["trust"]["suggestion"]["shares"]
    assert sum(each["share"]["value"] for each in shares) == pytest.approx(1)
    assert all(0 <= s["low"] <= s["value"] <= s["high"] <= 1 for s in (x["share"] for x in shares))


def test_by_looks_the_score_is_the_cosine(learnt, new_photographs):
    said = told(learnt, new_photographs[0], "--by", "looks")
    similarities = [hit["similarity"] for hit in said["hits"]]
    assert said["order"] == "looks"
    assert similarities == sorted(similarities, reverse=True)
    assert [hit["score"] for hit in said["hits"]] == similarities
    both = told(learnt, new_photographs[0], "--by", "both", "--label", "findings")
    assert (both["order"], both["label"]) == ("both", "findings")
    assert both["trust"]["suggestion"]["several"]


def test_what_was_not_learnt_is_one_sentence(learnt, new_photographs):
    result = search(learnt, new_photographs[0], "--label", "camera")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: this archive has learnt nothing of 'camera'")
    assert len(result.stderr.splitlines()) == 1
    result = search(learnt, "--left", new_photographs[0], "--by", "looks")
    assert result.returncode == 2
    assert "--by and --label go with IMAGE" in result.stderr


def test_an_archive_that_learnt_nothing_says_so(learnt, new_photographs, tmp_path):
    from foveola.indexing import add_missing
    from foveola.records import Case

    bare = [Case(image=path.name, path=str(path)) for path in new_photographs[:3]]
    add_missing(tmp_path / "A", bare)
    result = search(tmp_path / "A", new_photographs[5], "--by", "learned")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: this archive has learnt no order by labels")
    assert told(tmp_path / "A", new_photographs[5])["order"] == "looks"


def test_a_condition_on_the_label_changes_no_suggestion(learnt, new_photographs):
    free = told(learnt, new_photographs[0])
    fixed = told(learnt, new_photographs[0], "--where", "grade = 4")
    assert {hit["case"]["grade"] for hit in fixed["hits"]} == {4}
    assert fixed["trust"]["suggestion"] == free["trust"]["suggestion"] is not None


@pytest.mark.parametrize("name", ["chest", "cat", "black", "poor", "far"])
def test_of_what_cannot_be_compared_nothing_is_suggested(learnt, new_photographs, tmp_path, name):
    pixels = refused.pictures(refused.read(new_photographs[0]))[name]
    picture = refused.write(tmp_path / f"{name}.png", pixels)
    page = tmp_path / "page.html"
    result = search(learnt, picture, "-k", 4, "--html", page)
    assert result.returncode == 0, result.stderr
    assert "No sufficiently similar case" in result.stderr
    refused.silent(result.stdout + result.stderr, name)
    refused.silent(refused.words(page.read_text(encoding="utf-8")), name)
    said = told(learnt, picture, "-k", 4)
    assert said["trust"]["suggestion"] is None
    assert not said["trust"]["sufficient"]
    for hit in said["hits"]:
        shares = [hit["trust"][key] for key in ("same", "other", "agreement")]
        assert shares == [None, None, None]
    assert said["order"] == "looks"
    similarities = [hit["similarity"] for hit in said["hits"]]
    assert similarities == sorted(similarities, reverse=True)
