"""A reader's front: files in, what is said of the person out, and all that limits it."""

from pathlib import Path

import numpy as np
import pytest

import refused
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import ReadingModel
from foveola.errors import ImageError, ManifestError
from foveola.images.decode import decode
from foveola.reading import pictures, read_people, read_person
from foveola.records import Case
from made_readers import LABELS, SIZE


@pytest.fixture(scope="module")
def reader(made_reader):
    return ReadingModel.load(made_reader)


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms).cases())


def pair_of(cases):
    first = cases[0]
    both = [c for c in cases if (c.identity, c.visit) == (first.identity, first.visit)]
    return {case.eye: Path(case.path) for case in both}


def test_a_person_is_read_as_the_network_reads_them(reader, cases):
    paths = pair_of(cases)
    reading = read_person(reader, paths["left"], paths["right"])
    side = reader.release.contract.min_side
    seen = [reader.prepare(decode(paths[eye], min_side=side), eye) for eye in ("left", "right")]
    said = reader.read(*seen)
    assert (reading.probabilities == said.probabilities).all()
    assert (reading.eyes["right"].probabilities == said.eyes[1]).all()
    assert (reading.eyes["left"].evidence == said.evidence[0]).all()
    assert reading.labels == LABELS
    above = said.probabilities > np.array([0.3, 0.5, 0.6])
    assert reading.found == tuple(n for n, is_above in zip(LABELS, above, strict=True) if is_above)


def test_one_eye_is_said_to_be_one(reader, cases):
    reading = read_person(reader, None, pair_of(cases)["right"])
    assert list(reading.eyes) == ["right"]
    assert "only the right eye was given" in reading.warnings[0]


def test_what_may_not_be_gradable_is_warned_of(reader, cases, tmp_path):
    paths = pair_of(cases)
    dark = tmp_path / "dark.png"
    refused.write(dark, refused.doubtful(decode(paths["left"])))
    reading = read_person(reader, dark, paths["right"])
    assert any("left eye may be too dark" in warning for warning in reading.warnings)
    assert not any("right eye may be" in warning for warning in reading.warnings)


def test_one_photograph_for_both_eyes_is_refused(reader, cases, tmp_path):
    path = pair_of(cases)["left"]
    copy = tmp_path / "renamed.jpg"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(ImageError, match="the same photograph, or two of the same eye"):
        read_person(reader, path, copy)


def test_nobody_is_refused(reader):
    with pytest.raises(ValueError, match="neither eye"):
        read_person(reader, None, None)


def test_people_in_bulk_are_read_as_alone_and_in_order(reader, cases):
    people = list(read_people(reader, cases))
    assert len(people) == 16  # 8 people at two visits
    assert [(p.case.subject, p.case.visit) for p in people] == list(
        dict.fromkeys((case.subject, case.visit) for case in cases)
    )
    paths = pair_of(cases)
    alone = read_person(reader, paths["left"], paths["right"])
    assert (people[0].reading.probabilities == alone.probabilities).all()


def test_a_bad_photograph_costs_one_eye_and_two_cost_the_person(reader, cases, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")

    def case(subject, eye, path):
        return Case(image=f"{subject}{eye}", path=str(path), subject=subject, eye=eye)

    right = pair_of(cases)["right"]
    given = [
        case("a", "left", broken),
        case("a", "right", right),
        case("b", "left", broken),
        case("b", "right", tmp_path / "none.jpg"),
    ]
    first, second = read_people(reader, given)
    assert list(first.reading.eyes) == ["right"]
    assert (first.reading.probabilities == read_person(reader, None, right).probabilities).all()
    assert len(first.failed) == 1
    assert second.reading is None
    assert len(second.failed) == 2


def test_photographs_of_unknown_eyes_are_refused(reader, cases):
    with pytest.raises(ManifestError, match="which eye it shows"):
        list(read_people(reader, [Case(image="x", path=cases[0].path, subject="a")]))
    with pytest.raises(ManifestError, match="which eye it shows"):  # at once, not when first asked
        read_people(reader, [Case(image="x", path=cases[0].path, subject="a")])


def test_pictures_show_the_likeliest_findings_and_never_normal(reader, cases):
    paths = pair_of(cases)
    reading = read_person(reader, paths["left"], paths["right"])
    photographs, shown = pictures(reading)
    findings = [label for label in reading.found if label != "N"]
    assert "N" not in shown
    assert set(shown) == set(findings) if findings else len(shown) == 1
    for eyes in [photographs, *shown.values()]:
        assert list(eyes) == ["left", "right"]
        assert all(data.startswith(b"\xff\xd8") for data in eyes.values())
    assert reader.release.contract.size == SIZE
