"""foveola regions and foveola search --region, as typed."""

import json
import shutil
from pathlib import Path

import pytest

import refused
from commands import foveola
from foveola.archive import Archive
from foveola.regions import is_on


@pytest.fixture(scope="module")
def photograph(kept, tmp_path_factory) -> Path:
    """Of the archive, under a name of its own."""
    with Archive.open(kept, read_only=True) as archive:
        _, case = list(archive.cases())[4]
    return Path(shutil.copy(case.path, tmp_path_factory.mktemp("query") / "query.jpg"))


def test_search_by_a_region(kept, photograph, tmp_path):
    page = tmp_path / "report.html"
    done = foveola("search", kept, photograph, "--region", "0.4,0.5,0.1,0.1", "-k", 3, "--json", "--html", page)
    said = json.loads(done.stdout)
    assert len(said["hits"]) == 3
    assert said["region"] == pytest.approx([0.4, 0.5, 0.1, 0.1], abs=0.04)
    assert said["hits"][0]["similarity"] >= said["hits"][1]["similarity"] >= said["typical"]
    assert all(0 <= v <= 1 for hit in said["hits"] for v in hit["box"])
    assert said["in_archive"]
    assert said["excluded_same_subject"] == 3
    text = page.read_text()
    assert text.count("data:image/jpeg") == 6
    assert "phantom images" in text.lower()


def test_a_wrong_region_is_one_line(kept, photograph):
    done = foveola("search", kept, photograph, "--region", "40,50,10,10", code=1)
    assert "within the picture" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_off_and_on_and_the_way_there(own, photograph):
    assert "regions are off" in foveola("regions", "off", own).stdout
    assert not is_on(own)
    done = foveola("search", own, photograph, "--region", "0.5,0.5", code=1)
    assert "foveola regions on" in done.stderr
    assert "32 photographs are kept (0.4 MB); 32 described now" in foveola("regions", "on", own).stdout
    first = foveola("search", own, photograph, "--region", "0.5,0.5", "-k", 2)
    assert len(first.stdout.splitlines()) == 3
    assert "28 cases compared; same person: 3 left out" in first.stderr


def test_what_is_removed_leaves_the_side_file(own):
    with Archive.open(own, read_only=True) as archive:
        _, case = next(archive.cases())
    foveola("remove", own, "--subject", case.subject)
    done = foveola("regions", "update", own)
    assert "28 photographs are kept" in done.stdout
    assert "0 described now, 0 forgotten" in done.stdout


def test_of_what_cannot_be_compared_it_is_said_in_every_form(kept, photograph, tmp_path):
    words, page = "does not look like a colour photograph of the retina: no place is sufficiently", tmp_path / "r.html"
    chest = refused.write(tmp_path / "chest.png", refused.chest())
    done = foveola("search", kept, chest, "--region", "0.4,0.4,0.2,0.1", "-k", 2, "--json", "--html", page)
    assert words in " ".join(json.loads(done.stdout)["sentences"])
    assert words in page.read_text()
    poor = refused.write(tmp_path / "poor.png", refused.poor(refused.read(photograph)))
    done = foveola("search", kept, poor, "--region", "0.4,0.4,0.2,0.1", "-k", 2)
    assert "shows too little of the retina: no place is sufficiently similar" in done.stderr
