"""An archive asked about its own photographs, against a slow loop over every pair."""

import hashlib
from dataclasses import astuple

import numpy as np
import pytest

from foveola import files
from foveola.archive import Archive, Entry
from foveola.errors import ArchiveError
from foveola.records import Case
from foveola.relevance.calibrate import LabelShare, Share, Suggestion
from foveola.trust import TRUST, Looks, calibrate, is_missing, judge_answer, judge_hit, load, refresh
from foveola.trust.calibration import FALSE_REJECT, LEAST, label_of
from foveola.trust.sample import NEIGHBOURS, REST

D = 8
PEOPLE = 60
RETINA = Looks(unlike=0.5, foreign=False)


def entry(vector, **record):
    digest = hashlib.blake2b(record["image"].encode(), digest_size=16).digest()
    case = Case(path=f"/data/{record['image']}", **record)
    return Entry(case=case, descriptor=vector, digest=digest, size=1, mtime_ns=1)


def entries(people=PEOPLE, *, label="grade", seed=0):
    """Two photographs a person; photographs of a grade point to the same side."""
    rng = np.random.default_rng(seed)
    made = []
    for person in range(people):
        grade = person % 3
        for side in ("left", "right"):
            vector = rng.normal(size=D)
            vector[grade] += 3
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            said = {"grade": grade} if label == "grade" else {"findings": frozenset("NDG"[grade])}
            name = f"{person}_{side}.jpg"
            made.append(entry(vector, image=name, subject=f"s{person}", eye=side, **said))
    return made


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "A"
    with Archive.create(folder, encoder="toy", fingerprint="f00d", dimension=D) as opened:
        opened.add(entries())
        yield opened


def looped(archive):
    """Per photograph the nearest of another person, and the nearest other people's labels."""
    _, matrix = archive.vectors()
    cases = [case for _, case in archive.cases()]
    found = []
    for i, case in enumerate(cases):
        others = [
            (float(matrix[i] @ matrix[j]), other) for j, other in enumerate(cases) if other.subject != case.subject
        ]
        others.sort(key=lambda pair: -pair[0])
        first = {}
        for similarity, other in others:
            first.setdefault(other.subject, (similarity, other.grade == case.grade))
        found.append((others, list(first.values())[:NEIGHBOURS]))
    return cases, found


def test_it_learns_what_a_slow_loop_finds(archive):
    made = calibrate(archive, queries=10_000)
    cases, found = looped(archive)
    assert (made.cases, made.people, made.label) == (2 * PEOPLE, PEOPLE, "grade")
    # one photograph a person is asked about, whichever: its nearest is one of the loop's
    nearest = {round(others[0][0], 5) for others, _ in found}
    assert min(made.nearest) == pytest.approx(min(nearest), abs=0.3)
    assert {round(made.nearest[0], 5), round(made.nearest[-1], 5)} <= nearest
    every = [agrees for _, near in found for _, agrees in near]
    assert made.curves[REST].pairs == PEOPLE * NEIGHBOURS
    assert made.curves[REST].people == PEOPLE
    mean = np.average(made.curves[REST].chance)
    assert mean == pytest.approx(np.mean(every), abs=0.1)
    same = [s for c, (o, _) in zip(cases, found, strict=True) for s, x in o if x.grade == c.grade]
    other = [s for c, (o, _) in zip(cases, found, strict=True) for s, x in o if x.grade != c.grade]
    assert np.median(made.same) == pytest.approx(np.median(same), abs=0.05)
    assert np.median(made.other) == pytest.approx(np.median(other), abs=0.05)


def test_the_own_person_is_never_the_nearest(tmp_path):
    twins = [e for e in entries() if e.case.eye == "left"]
    copies = [entry(e.descriptor, image=f"copy_{e.case.image}", subject=e.case.subject, grade=0) for e in twins]
    with Archive.create(tmp_path / "A", encoder="x", fingerprint="f", dimension=D) as archive:
        archive.add(twins + copies)
        assert calibrate(archive).nearest[-1] < 0.9999


def test_a_hit_of_the_same_side_is_trusted_more(archive):
    made = calibrate(archive)
    case = Case(path="/q", image="q", grade=1)
    near, far = made.hit(0.95, case), made.hit(-0.2, case)
    assert near.same > far.same
    assert near.other > 0.99
    assert near.agreement.value > far.agreement.value
    assert near.agreement.low <= near.agreement.value <= near.agreement.high
    assert (near.sufficient, far.sufficient) == (True, False)


def test_a_hit_without_a_label_has_no_chance_of_agreement(archive):
    assert calibrate(archive).hit(0.9, Case(path="/q", image="q")).agreement is None


SUGGESTION = Suggestion(
    "findings",
    (LabelShare("D", Share(0.5, 0.4, 0.6)), LabelShare("G", Share(0.2, 0.1, 0.3))),
    several=True,
    people=300,
    new=True,
)


def test_a_hit_is_as_likely_as_the_archive_suggests_its_label(archive):
    made = calibrate(archive)
    answer = judge_answer(made, RETINA, 0.99, SUGGESTION)
    assert answer.false_reject == FALSE_REJECT

    def agreement(findings):
        case = Case(path="/q", image="q", grade=1, findings=findings)
        return judge_hit(made, answer, 0.99, case).agreement

    assert astuple(agreement(frozenset("G"))) == pytest.approx((0.2, 0.1, 0.3))
    both = agreement(frozenset("DG"))  # 1 - .5 * .8, of the ends 1 - .6 * .9 and 1 - .4 * .7
    assert astuple(both) == pytest.approx((0.6, 0.46, 0.72))
    assert agreement(None) is agreement(frozenset("X")) is None
    assert judge_hit(made, answer, 0.99, Case(path="/q", image="q")).label == "findings"


def test_of_a_query_that_cannot_be_compared_no_hit_is_judged(archive):
    made = calibrate(archive)
    case = Case(path="/q", image="q", grade=1, findings=frozenset("G"))
    for looks, nearest in ((Looks(1.0, foreign=True), 0.99), (RETINA, -0.5)):
        answer = judge_answer(made, looks, nearest, SUGGESTION)
        told = judge_hit(made, answer, 0.99, case)
        assert (told.same, told.other, told.agreement) == (None, None, None)
    assert judge_hit(None, answer, 0.99, case) is None


def test_without_hits_nothing_is_sufficient(archive):
    said = judge_answer(calibrate(archive), RETINA, None, SUGGESTION)
    assert (said.sufficient, said.nearest, said.suggestion) == (False, None, None)


def test_about_one_in_a_hundred_of_its_own_has_no_sufficient_case(archive):
    made = calibrate(archive)
    _, found = looped(archive)
    without = np.mean([others[0][0] < made.threshold for others, _ in found])
    assert without <= 0.05


def test_findings_are_compared_where_more_are_known(tmp_path):
    with Archive.create(tmp_path / "A", encoder="x", fingerprint="f", dimension=D) as archive:
        archive.add(entries(label="findings"))
        made = calibrate(archive)
    assert made.label == "findings"
    near = made.hit(0.9, Case(path="/q", image="q", findings=frozenset("DG")))
    assert near.agreement is not None


def test_labels_as_keys():
    case = Case(path="/q", image="q", grade=2, findings=frozenset({"H", "D"}))
    assert (label_of(case, "grade"), label_of(case, "findings")) == ("2", "D;H")
    assert label_of(Case(path="/q", image="q"), "grade") is None


def test_it_is_kept_and_read_again(archive):
    made = calibrate(archive)
    assert load(archive) == made


def test_it_holds_no_name_of_anybody(archive):
    calibrate(archive)
    text = (archive.folder / TRUST).read_text()
    assert not any(name in text for case in entries() for name in (case.case.image, "/data"))
    assert '"s1' not in text


@pytest.mark.parametrize("spoilt", ["", "[]", "{}", '{"format": 1}', "\ud800"])
def test_a_spoilt_file_is_told_and_made_anew(archive, spoilt):
    (archive.folder / TRUST).write_bytes(spoilt.encode(errors="surrogatepass"))
    with pytest.raises(ArchiveError, match="is damaged"):
        load(archive)
    refresh(archive, changed=False)
    assert load(archive).people == PEOPLE


def test_a_changed_number_is_told(archive):
    calibrate(archive)
    path = archive.folder / TRUST
    path.write_text(path.read_text().replace('"people": ', '"people": 1'))
    with pytest.raises(ArchiveError, match="is damaged"):
        load(archive)


def rewrite(path, **changed):
    files.write_json(path, files.read_json(path) | changed)


def test_one_of_another_encoder_is_as_none(archive):
    calibrate(archive)
    path = archive.folder / TRUST
    rewrite(path, fingerprint="another")
    assert load(archive) is None


def test_few_people_say_nothing_and_an_old_calibration_goes(tmp_path):
    with Archive.create(tmp_path / "A", encoder="x", fingerprint="f", dimension=D) as archive:
        archive.add(entries(LEAST))
        assert calibrate(archive) is not None
        archive.remove(subject="s1")
        assert calibrate(archive) is None
        assert not (archive.folder / TRUST).exists()
        assert load(archive) is None


@pytest.mark.parametrize("people", [LEAST - 1, LEAST])
def test_a_calibration_that_is_gone_is_missed_where_one_was_made(tmp_path, people):
    with Archive.create(tmp_path, encoder="toy", fingerprint="f00d", dimension=D) as opened:
        opened.add(entries(people))
        made = calibrate(opened)
        assert not is_missing(opened)
        (tmp_path / TRUST).unlink(missing_ok=True)
        assert is_missing(opened) is (made is not None)


def test_an_empty_archive_says_nothing(tmp_path):
    with Archive.create(tmp_path / "A", encoder="x", fingerprint="f", dimension=D) as archive:
        assert calibrate(archive) is None


def test_no_labels_leave_similarities_alone(tmp_path):
    bare = [entry(e.descriptor, image=e.case.image, subject=e.case.subject) for e in entries()]
    with Archive.create(tmp_path / "A", encoder="x", fingerprint="f", dimension=D) as archive:
        archive.add(bare)
        made = calibrate(archive)
    assert (made.label, made.same, made.curves) == (None, (), {})
    hit = made.hit(0.9, bare[0].case)
    assert (hit.same, hit.other, hit.agreement) == (None, None, None)
    assert judge_hit(made, judge_answer(made, RETINA, 0.9, None), 0.9, bare[0].case) == hit


def test_it_is_made_again_only_when_something_changed(archive):
    calibrate(archive)
    path = archive.folder / TRUST
    rewrite(path, people=7)
    refresh(archive, changed=False)
    assert load(archive).people == 7
    refresh(archive)
    assert load(archive).people == PEOPLE
    archive.add(entries(PEOPLE + 5))
    refresh(archive, changed=False)
    assert load(archive).cases == 2 * (PEOPLE + 5)


def test_a_folder_that_cannot_be_written_is_named(archive, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ArchiveError, match=r"trust.json can't be written: No space left"):
        calibrate(archive)
    assert not list(archive.folder.glob(".trust*"))


def test_reading_only_keeps_nothing(archive):
    with Archive.open(archive.folder, read_only=True) as opened:
        assert calibrate(opened) is not None
    assert not (archive.folder / TRUST).exists()


def _calibration(own, nearest):
    from foveola.trust import Calibration
    from foveola.trust.calibration import _quantiles

    lines = {"own": own, "nearest": nearest}
    kept = {name: _quantiles(np.array(line)) if len(line) else () for name, line in lines.items()}
    return Calibration(fingerprint="f", cases=1, people=1, label=None, same=(), other=(), curves={}, **kept)


def test_alike_is_where_as_many_pairs_are_missed_as_others_are_hit():
    # own: .90 to 1.00, others' nearest: .80 to .95, both even. At t a share (t - .9) / .1 of the
    # pairs is less alike, and (.95 - t) / .15 of the others more: equal at t = .92, where it is .2
    own, nearest = np.linspace(0.9, 1, 1001), np.linspace(0.8, 0.95, 1001)
    assert _calibration(own, np.linspace(0.8, 0.92, 1001)).alike == pytest.approx(
        0.9 + 0.1 * (0.02 / 0.22), abs=1e-3
    )  # (t - .9) / .1 = (.92 - t) / .12: a share of .0909
    assert _calibration(own, nearest).alike == pytest.approx(0.92, abs=1e-3)  # .2 = .2


def test_alike_without_eyes_that_are_there_twice_is_what_one_in_ten_has_with_somebody_else():
    assert _calibration([], np.linspace(0, 1, 1001)).alike == pytest.approx(0.9)


def test_alike_leaves_a_case_of_somebody_else_out_for_a_quarter_at_the_most():
    assert _calibration([0.1, 0.2], np.linspace(0, 1, 1001)).alike == pytest.approx(0.75)


def test_alike_between_what_does_not_overlap():
    assert 0.5 < _calibration([0.8, 0.9], [0.1, 0.5]).alike <= 0.8


def test_own_eyes_are_found_by_a_slow_loop(tmp_path):
    rng = np.random.default_rng(3)
    made = []
    for person in range(30):
        for side in ("left", "right"):
            vector = rng.normal(size=D)
            for visit in range(2):
                seen = vector + 0.2 * rng.normal(size=D)
                unit = (seen / np.linalg.norm(seen)).astype(np.float32)
                name = f"{person}_{side}_{visit}.jpg"
                made.append(entry(unit, image=name, subject=f"s{person}", eye=side, visit=visit))
    with Archive.create(tmp_path / "A", encoder="toy", fingerprint="f00d", dimension=D) as opened:
        opened.add(made)
        found = calibrate(opened)
        _, matrix = opened.vectors()
        cases = [case for _, case in opened.cases()]
    pairs = sorted(
        float(matrix[i] @ matrix[j])
        for i, one in enumerate(cases)
        for j, other in enumerate(cases)
        if i != j and (one.subject, one.eye) == (other.subject, other.eye)
    )
    assert len(found.own) == 201
    assert set(np.round(found.own[:1] + found.own[-1:], 5)) <= set(np.round(pairs, 5))
    assert load_again(tmp_path / "A").alike == pytest.approx(found.alike)


def load_again(folder):
    with Archive.open(folder) as opened:
        return load(opened)
