"""What lies off the plane of the known is unlike it; what an encoder was trained on, and an archive of it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from foveola.answers import LabelShare, Share, Suggestion
from foveola.archive import Archive
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import DEFAULT
from foveola.errors import EncoderError
from foveola.images.decode import decode
from foveola.relevance.calibrate import Curve
from foveola.trust import (
    FAMILIARITY,
    SEEN,
    TRUST,
    Calibration,
    Familiarity,
    Looks,
    Seen,
    calibrate,
    judge_answer,
    judge_picture,
    load,
    refresh,
)
from foveola.trust.sample import ENOUGH
from trust.test_calibration import RETINA, D, entries

C, K = 12, 3


@pytest.fixture(scope="module")
def plane():
    return np.linalg.qr(np.random.default_rng(0).normal(size=(C, K)))[0].T


def known_of(plane, count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, K)) @ plane * 5 + rng.normal(size=(count, C)) * 0.1 + 2


@pytest.fixture(scope="module")
def familiarity(plane):
    return Familiarity.fit(known_of(plane, 800, 1), known_of(plane, 400, 2), axes=K)


@pytest.mark.parametrize("unit", [True, False])  # False: as older encoders' files have it
def test_distance_is_what_a_projection_leaves_over(familiarity, unit, tmp_path):
    rng = np.random.default_rng(3)
    x, deviation = rng.normal(size=C) * 4, rng.uniform(1, 2, C)
    replace(familiarity, deviation=deviation, unit=unit).save(tmp_path / FAMILIARITY)
    if not unit:
        with np.load(tmp_path / FAMILIARITY) as kept:
            older = {name: kept[name] for name in kept if name != "unit"}
        np.savez_compressed(tmp_path / FAMILIARITY, **older)
    kept = Familiarity.load(tmp_path)
    z = (x / (np.sqrt((x**2).sum()) if unit else 1) - kept.mean) / kept.deviation
    rest = z - sum((z @ axis) * axis for axis in kept.axes)
    assert kept.distance(x) == pytest.approx(np.mean(rest**2))


def test_a_channel_that_hardly_ever_speaks_does_not_decide_alone():
    rng = np.random.default_rng(9)
    plane = np.abs(rng.normal(size=(4, 40)))

    def photographs(count):
        x = np.abs(rng.normal(size=(count, 4))) @ plane + np.abs(rng.normal(size=(count, 40))) * 0.1
        x[:, 0] = np.where(rng.random(count) < 0.01, 0.5, 0)  # one in a hundred excites it
        return x

    known = Familiarity.fit(photographs(2000), photographs(2000), axes=4)
    assert known.unlike(np.abs(rng.normal(size=40))) == 1
    assert 0 <= known.unlike(np.zeros(40)) <= 1  # a picture that excites nothing


def test_others_of_the_kind_are_spread_over_all_shares(familiarity, plane):
    shares = [familiarity.unlike(x) for x in known_of(plane, 500, 4)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(shares) > 0.9) == pytest.approx(0.1, abs=0.05)


def test_another_kind_is_more_unlike_than_all(familiarity):
    assert familiarity.unlike(np.random.default_rng(5).normal(size=C) * 5) == 1


def test_it_is_kept_and_read_again(familiarity, plane, tmp_path):
    familiarity.save(tmp_path / FAMILIARITY)
    again = Familiarity.load(tmp_path)
    for x in known_of(plane, 50, 6):
        assert again.unlike(x) == pytest.approx(familiarity.unlike(x), abs=0.02)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_a_spoilt_file_is_told(data, tmp_path):
    assert Familiarity.load(tmp_path) is None
    (tmp_path / FAMILIARITY).write_bytes(data)
    with pytest.raises(EncoderError, match="is damaged"):
        Familiarity.load(tmp_path)


def test_without_a_field_in_colour_it_is_foreign(familiarity, plane):
    (usual,) = known_of(plane, 1, 7)
    assert not judge_picture(familiarity, usual, 0.3).foreign
    assert judge_picture(familiarity, usual, 0.0).foreign
    assert judge_picture(None, usual, 0.3) == Looks(None, foreign=False)
    assert judge_picture(None, usual, 0.04) == Looks(None, foreign=False, poor=True)
    assert judge_picture(familiarity, np.eye(C)[0] * 50, 0.9).foreign


def test_two_doubts_are_worse_than_one(familiarity, plane):
    shares = np.array([familiarity.unlike(x) for x in known_of(plane, 4000, 8)])
    (row, *_) = np.flatnonzero((shares >= 0.99) & (shares < 0.999))
    unusual = known_of(plane, 4000, 8)[row]
    assert not judge_picture(familiarity, unusual, 0.9).foreign
    assert judge_picture(familiarity, unusual, 0.3).foreign


def test_a_foreign_query_has_no_sufficient_case_however_alike():
    made = Calibration(
        fingerprint="f",
        cases=9,
        people=9,
        label="grade",
        nearest=(0.5, 0.9),
        same=(),
        other=(),
        curves={"*": Curve((0.0,), (0.5,), (0.4,), (0.6,), 99, 9)},
    )
    suggestion = Suggestion("grade", (LabelShare("2", Share(0.9, 0.8, 0.95)),), False, 9, True)
    near = judge_answer(made, Looks(0.5, foreign=False), 0.99, suggestion)
    assert near.sufficient
    assert near.suggestion is suggestion
    refused = [
        judge_answer(known, looks, similarity, suggestion, anywhere)
        for known, looks, similarity, anywhere in [
            (made, Looks(1.0, foreign=True), 0.99, 0.99),
            (None, Looks(1.0, foreign=True), 0.99, 0.99),
            (made, Looks(0.5, foreign=False, poor=True), 0.99, 0.99),
            (made, Looks(0.5, foreign=False), 0.1, 0.1),
            (made, Looks(0.5, foreign=False), 0.1, None),
            (made, Looks(0.5, foreign=False), None, None),
        ]
    ]
    assert not any(each.sufficient or each.suggestion for each in refused)
    assert judge_answer(None, Looks(None, foreign=False), 0.1, suggestion).sufficient


def test_a_condition_that_leaves_only_far_cases_changes_no_suggestion():
    made = Calibration(
        fingerprint="f", cases=9, people=9, label="grade", nearest=(0.5, 0.9), same=(), other=(), curves={}
    )
    suggestion = Suggestion("grade", (LabelShare("2", Share(0.9, 0.8, 0.95)),), False, 9, True)
    for nearest in (0.1, None):  # among the cases that meet it
        judged = judge_answer(made, Looks(0.5, foreign=False), nearest, suggestion, 0.99)
        assert judged.suggestion is suggestion
        assert not judged.sufficient


@pytest.mark.parametrize(
    ("odds", "near", "foreign"), [(-0.6, True, True), (-0.4, True, False), (3.9, False, True), (4.1, False, False)]
)
def test_the_plane_is_asked_where_the_classifier_is_not_sure(familiarity, plane, tmp_path, odds, near, foreign):
    x = known_of(plane, 1, 6)[0] if near else np.random.default_rng(5).normal(size=C) * 5
    weights = np.arange(C) / C
    bias = odds - float(weights @ x / np.sqrt((x**2).sum()))
    replace(familiarity, weights=weights, bias=bias).save(tmp_path / FAMILIARITY)
    kept = Familiarity.load(tmp_path)
    for gradability in (0.2, 0.9):  # another doubt changes nothing
        looks = judge_picture(kept, x, gradability)
        assert (looks.foreign, looks.unlike == 1) == (foreign, not near)
    assert judge_picture(kept, x, 0.0).foreign


def test_a_rare_disease_is_a_retina(shared_data):
    """Cotton wool spots, atrophy, proliferation: they lie off the plane as X-rays do."""
    encoder = Encoder.load(DEFAULT)
    known = Familiarity.load(encoder.release.folder)
    for name in ("28_right", "32_right", "1547_left"):
        picture = decode(shared_data / f"odir/images/{name}.jpg", min_side=512)
        seen = encoder.embed_with_quality(picture)
        assert not judge_picture(known, seen.pooled, seen.gradability).foreign, name


def spots(rng, side=512):
    """A disc in the colour of a retina with shades and soft spots, and no vessel."""
    at = np.linspace(-1, 1, side)
    shade = 1 + rng.uniform(-0.3, 0.3) * at[:, None] + rng.uniform(-0.3, 0.3) * at
    picture = np.array([200, 110, 50]) * shade[..., None]
    for _ in range(rng.integers(1, 4)):
        (x, y), size = rng.uniform(-0.6, 0.6, 2), rng.uniform(0.05, 0.2)
        bump = np.exp(-((at[:, None] - y) ** 2 + (at - x) ** 2) / (2 * size**2))
        picture = picture + bump[..., None] * rng.uniform(40, 120) * np.array([1, 0.9, 0.5])
    inside = np.hypot(at[:, None], at) < 0.94
    return (picture.clip(0, 255) * inside[..., None]).astype(np.uint8)


def is_foreign(encoder, known, picture):
    seen = encoder.embed_with_quality(picture)
    looks = judge_picture(known, seen.pooled, seen.gradability)
    return looks.foreign or looks.poor


def test_discs_with_spots_are_no_retinas_and_phantoms_are(phantoms):
    encoder = Encoder.load(DEFAULT)
    known = Familiarity.load(encoder.release.folder)
    rng = np.random.default_rng(7)
    told = [is_foreign(encoder, known, spots(rng)) for _ in range(20)]
    assert sum(told) >= 16  # docs/explanation/trust.md: 94 %
    drawn = sorted((phantoms.parent / "images").iterdir())[:12]
    assert not any(is_foreign(encoder, known, decode(path, min_side=512)) for path in drawn)


def test_x_rays_in_the_colours_of_a_retina_are_none(shared_data):
    encoder = Encoder.load(DEFAULT)
    known = Familiarity.load(encoder.release.folder)
    told = []
    for path in sorted((shared_data / "hannover_cxr/images").iterdir())[:30]:
        grey = decode(path, min_side=512).mean(axis=2, keepdims=True) / 255
        told.append(is_foreign(encoder, known, (grey * [220, 120, 60]).astype(np.uint8)))
    assert sum(told) >= 29


def digest(text):
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def trained_on(archive, made):
    """Put a mark of these entries beside the archive's encoder."""
    archive.encoder_folder.mkdir(exist_ok=True)
    Seen.of(e.digest for e in made).save(archive.encoder_folder)


def moved(made, grade_of):
    """The same, as an encoder says that knows their labels: exactly where their grade lies."""
    found = []
    for e in made:
        vector = np.zeros(D, np.float32)
        vector[grade_of(e)] = 1
        found.append(replace(e, descriptor=vector))
    return found


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "A"
    with Archive.create(folder, encoder="toy", fingerprint="f00d", dimension=D) as opened:
        yield opened


def test_marks_are_of_the_content(tmp_path):
    for name, content in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(content)
    seen = Seen.of_files([tmp_path / "a", tmp_path / "c", tmp_path / "gone"])
    assert len(seen.marks) == 1
    assert seen.among([digest("two"), digest("one")]).tolist() == [False, True]
    # the first eight bytes of the digest, the greatest first
    assert seen.marks[0] == int(digest("one").hex()[:16], 16)


def test_they_are_kept_and_read_again(tmp_path):
    seen = Seen.of(map(digest, "cab"))
    seen.save(tmp_path)
    assert (Seen.load(tmp_path).marks == seen.marks).all()
    assert (np.diff(seen.marks.astype(object)) > 0).all()
    Seen.of([]).save(tmp_path)
    assert not Seen.load(tmp_path).among([digest("a")]).any()


@pytest.mark.parametrize("spoilt", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_spoilt_file_of_marks_is_told(tmp_path, spoilt):
    assert Seen.load(tmp_path) is None
    (tmp_path / SEEN).write_bytes(spoilt)
    with pytest.raises(EncoderError, match="is damaged"):
        Seen.load(tmp_path)
    np.save(tmp_path / SEEN, np.zeros((2, 2)))
    with pytest.raises(EncoderError, match="is damaged"):
        Seen.load(tmp_path)


def test_an_archive_of_the_encoder_s_own_photographs_says_so(archive):
    made = entries()
    archive.add(made)
    assert calibrate(archive).trained is None
    trained_on(archive, made[: len(made) // 4])
    learnt = calibrate(archive)
    assert (learnt.trained, learnt.new) == (0.25, False)  # there are not ENOUGH others
    assert judge_answer(learnt, RETINA, 0.9, None).trained == 0.25
    assert load(archive) == learnt


def test_a_calibration_from_before_the_marks_is_made_anew(archive):
    made = entries()
    archive.add(made)
    refresh(archive)
    assert load(archive).trained is None
    trained_on(archive, made[:12])
    refresh(archive, changed=False)
    assert load(archive).trained == 0.1
    before = (archive.folder / TRUST).stat().st_mtime_ns
    refresh(archive, changed=False)
    assert (archive.folder / TRUST).stat().st_mtime_ns == before


def test_photographs_it_has_not_seen_are_none_of_its_own(archive):
    archive.add(entries())
    trained_on(archive, [])
    learnt = calibrate(archive)
    assert (learnt.trained, learnt.new) == (0.0, True)
    assert judge_answer(learnt, RETINA, None, None).trained is None


def test_people_it_does_not_know_are_asked_about_where_there_are_enough(archive):
    """Known people lie where their grade is, others anywhere: of these one hit in three agrees."""
    made, rng = entries(people=2 * ENOUGH), np.random.default_rng(1)
    known = moved(made[: 2 * ENOUGH], lambda e: e.case.grade)
    archive.add(known + moved(made[2 * ENOUGH :], lambda _: rng.integers(3)))
    before = calibrate(archive)
    trained_on(archive, known[::2])  # one eye each is enough to know a person
    learnt = calibrate(archive)
    assert (before.people, learnt.people) == (2 * ENOUGH, ENOUGH)
    assert (learnt.trained, learnt.new) == (0.25, True)
    assert judge_answer(learnt, RETINA, None, None).trained is None
    pairs = np.array([c.pairs for c in learnt.curves.values()])
    assert learnt.curves["*"].pairs == pairs.max() == 10 * ENOUGH
    case = known[0].case
    assert learnt.hit(1.0, case).agreement.value < 0.5 < before.hit(1.0, case).agreement.value


def test_new_people_without_a_label_teach_nothing_of_labels(archive):
    made = entries(people=3 * ENOUGH)
    bare = [replace(e, case=replace(e.case, grade=None)) for e in made[2 * ENOUGH :]]
    archive.add(made[: 2 * ENOUGH] + bare)
    trained_on(archive, made[: 2 * ENOUGH])
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (3 * ENOUGH, False)
    assert learnt.hit(0.9, made[0].case).agreement is not None


def test_without_any_label_new_people_are_asked_about(archive):
    made = [replace(e, case=replace(e.case, grade=None)) for e in entries(people=2 * ENOUGH)]
    archive.add(made)
    trained_on(archive, made[: 2 * ENOUGH])
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (ENOUGH, True)


def test_one_person_too_few_and_all_are_asked_about(archive):
    made = entries(people=2 * ENOUGH)
    archive.add(made)
    trained_on(archive, made[: 2 * ENOUGH + 2 : 2])  # of one person more than half
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (2 * ENOUGH, False)
