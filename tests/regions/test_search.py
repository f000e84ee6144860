"""A place is found again, among the right cases, and the side file follows the archive."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.archive import Archive
from foveola.errors import RegionError
from foveola.images.decode import read_bytes
from foveola.indexing import add_missing
from foveola.regions import Box, RegionSearch, forget_missing, switch_off, switch_on, update
from foveola.regions.search import best_boxes

HERE = Box(0.35, 0.5, 0.15, 0.1)


def case_of(folder, row=5):
    with Archive.open(folder, read_only=True) as archive:
        return list(archive.cases())[row]


def ask(search, data, region=HERE, k=10, **options):
    query = search.retriever.embed(data, "q.png")
    return search.search(query, search.look_at(data, query), region, k, **options)


def other_file(case):
    """The same photograph as a file that the archive does not know."""
    done, data = cv2.imencode(".png", cv2.imread(case.path))
    assert done
    return data.tobytes()


def test_a_place_is_found_again_where_it_is(search, kept):
    id_, case = case_of(kept)
    found = ask(search, other_file(case), same_subject=True)
    assert not found.in_archive
    assert found.hits[0].id == id_
    assert found.hits[0].similarity == pytest.approx(found.itself, abs=0.01)
    assert found.hits[1].similarity < found.itself - 0.02
    assert found.hits[0].box == pytest.approx(found.region, abs=1e-3)
    assert found.hits[0].square == found.square
    assert found.considered == 32
    assert [hit.rank for hit in found.hits] == list(range(1, 11))
    similarities = [hit.similarity for hit in found.hits]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[-1] >= found.typical


def test_who_is_so_alike_that_they_may_be_the_same_is_left_out_and_counted(search, kept):
    id_, case = case_of(kept)
    found = ask(search, other_file(case), k=40)
    assert id_ not in [hit.id for hit in found.hits]
    assert found.excluded_same_subject > 0
    assert found.considered + found.excluded_same_subject == 32
    named = ask(search, other_file(case), k=40, same_subject=True)
    assert named.excluded_same_subject == 0


def test_the_best_box_matches_a_loop():
    rng = np.random.default_rng(3)
    places = rng.integers(-127, 128, (7, 5, 5, 4), dtype=np.int8)
    asked = rng.normal(size=4)
    asked /= np.linalg.norm(asked)
    slots = np.array([6, 0, 3])
    scores, at = best_boxes(places, slots, asked.astype(np.float32), (2, 3))
    for score, (y, x), slot in zip(scores, at, slots, strict=True):
        wanted = {
            (i, j): np.mean([places[slot, i + di, j + dj] @ asked / 127 for di in range(2) for dj in range(3)])
            for i in range(4)
            for j in range(3)
        }
        assert (y, x) == max(wanted, key=wanted.get)
        assert score == pytest.approx(wanted[y, x], abs=2e-6)


def test_many_photographs_are_as_few():
    places = np.random.default_rng(0).integers(-127, 128, (600, 4, 4, 32), dtype=np.int8)
    asked = np.full(32, 32**-0.5, np.float32)
    whole, at = best_boxes(places, np.arange(600), asked, (2, 2))
    for some in (np.arange(250, 260), np.array([599, 3, 3, 300])):
        scores, where = best_boxes(places, some, asked, (2, 2))
        assert scores == pytest.approx(whole[some], abs=2e-6)
        assert (where == at[some]).all()


def test_a_photograph_of_the_archive_brings_its_subject_which_is_left_out(search, kept):
    id_, case = case_of(kept)
    found = ask(search, read_bytes(Path(case.path)), k=40)
    assert found.in_archive
    assert found.excluded_same_subject == 3  # two eyes, two visits, less itself
    assert found.considered == len(found.hits) == 28
    assert all(hit.case.subject != case.subject for hit in found.hits)
    all_of_them = ask(search, read_bytes(Path(case.path)), k=40, same_subject=True)
    assert all_of_them.considered == 31
    assert id_ not in [hit.id for hit in all_of_them.hits]


def test_the_score_is_the_mean_of_cosines_with_the_regions_mean(search, kept):
    _, case = case_of(kept)
    data = other_file(case)
    query = search.retriever.embed(data, "q.png")
    places = search.look_at(data, query)
    found = search.search(query, places, HERE, 32)
    cells = places.field.cells(HERE, 20)
    own = places.vectors[cells.y : cells.y + cells.rows, cells.x : cells.x + cells.columns]
    mean = own.reshape(-1, 32).mean(axis=0)
    assert found.itself == pytest.approx(np.linalg.norm(mean), abs=1e-5)
    for hit in found.hits[::10]:
        slot = search._store.slots["id"].tolist().index(hit.id)
        x, y = round(hit.square.x * 20), round(hit.square.y * 20)
        box = search._store.places[slot, y : y + cells.rows, x : x + cells.columns] / 127
        wanted = (box @ (mean / np.linalg.norm(mean))).mean()
        assert hit.similarity == pytest.approx(wanted, abs=2e-5)


def test_a_filter_acts_inside_the_search(search, kept):
    _, case = case_of(kept)
    found = ask(search, other_file(case), k=5, where="eye = 'left'")
    assert len(found.hits) == 5
    assert {hit.case.eye for hit in found.hits} == {"left"}
    assert found.considered == 16
    assert ask(search, other_file(case), where="grade > 9").hits == ()


def test_a_place_beside_the_retina_is_refused(search, kept):
    _, case = case_of(kept)
    with pytest.raises(RegionError, match="outside the field of view"):
        ask(search, other_file(case), Box(0, 0, 0.02, 0.02))


def test_it_follows_what_is_removed_and_added(own):
    id_, case = case_of(own)
    data = other_file(case)
    at = own / "regions" / "places.i8"
    with RegionSearch.open(own) as search:
        assert ask(search, data, same_subject=True).hits[0].id == id_
        slot = search._store.slots["id"].tolist().index(id_)
        before = np.fromfile(at, np.int8).reshape(32, -1)
        with Archive.open(own) as archive:
            archive.remove(image=case.path)
        assert ask(search, data, same_subject=True).considered == 31  # at once, whatever the side file holds
        assert forget_missing(own) == 1
        assert forget_missing(own) == 0
        after = np.fromfile(at, np.int8).reshape(32, -1)
        assert before[slot].any() and not after[slot].any()  # noqa: PT018
        assert (np.delete(before, slot, 0) == np.delete(after, slot, 0)).all()
        add_missing(own, [case])
        missing = ask(search, data, same_subject=True)
        assert (missing.considered, missing.undescribed) == (31, 1)
        done = update(own)
        assert (done.cases, done.added, done.removed) == (32, 1, 0)
        found = ask(search, data, same_subject=True)
        assert (found.considered, found.undescribed) == (32, 0)
        assert found.hits[0].id != missing.hits[0].id


def test_a_photograph_that_changed_is_not_searched_by_what_it_was(own, tmp_path):
    _, case = case_of(own)
    _, other = case_of(own, 20)
    file = shutil.copy(case.path, tmp_path / "changing.jpg")
    changing = replace(case, path=str(file), image="changing.jpg")
    add_missing(own, [changing])
    update(own)
    shutil.copy(other.path, file)
    os.utime(file, ns=(1, 1))
    assert [f.case.image for f in update(own).failed] == []  # the archive has not seen it either
    add_missing(own, [changing])
    with RegionSearch.open(own) as search:
        found = ask(search, other_file(other), same_subject=True)
        assert (found.considered, found.undescribed) == (32, 1)
        done = update(own)
        assert (done.cases, done.added, done.removed) == (33, 1, 1)
        assert ask(search, other_file(other), same_subject=True).considered == 33


def test_a_run_that_was_cut_short_ends_as_an_undisturbed_one(own, monkeypatch):
    from foveola import regions

    wanted = (own / "regions" / "places.i8").read_bytes()
    switch_off(own)
    monkeypatch.setattr(regions, "BATCH", 8)

    done = []

    def stop(number):
        done.append(number)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        switch_on(own, stop)
    done = switch_on(own)
    assert (done.cases, done.added) == (32, 8)
    assert (own / "regions" / "places.i8").read_bytes() == wanted


def test_too_small_an_archive_is_refused(own):
    switch_off(own)
    with Archive.open(own) as archive:
        cases = [case for _, case in archive.cases()]
        for subject in sorted({case.subject for case in cases})[:4]:
            archive.remove(subject=subject)
    with pytest.raises(RegionError, match="16 photographs that can be read; regions need 20"):
        switch_on(own)
    with pytest.raises(RegionError, match="foveola regions on"):
        RegionSearch.open(own)
