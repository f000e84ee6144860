"""Copies and same eyes among phantoms: what is altered, what is new, what is another's."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from foveola.duplicates import Pair, Settings, find_duplicates, group, summary
from foveola.duplicates import registration as reg
from foveola.duplicates.registration import agree
from foveola.images import fingerprint
from foveola.images.decode import decode
from foveola.records import Case


def turned(image, degrees=10):
    height, width = image.shape[:2]
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_CUBIC)


def cropped(image, share=0.8):
    height, width = image.shape[:2]
    y, x = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return image[y : height - y, x : width - x]


ALTERED = {
    "compressed": lambda image: image,
    "resized": lambda image: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "cropped": cropped,
    "turned": turned,
    "brighter": lambda image: np.clip(image * 1.2 + 5, 0, 255).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
}


def save(path, image, quality=90):
    bgr = np.ascontiguousarray(image[..., ::-1])
    assert cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One photograph of each of 8 phantom eyes, a second visit of one, and altered copies."""
    from foveola.phantom import generate

    out = tmp_path_factory.mktemp("duplicates")
    generate(out, subjects=4, visits=2, seed=5, size=384, masks=False)
    images = out / "images"
    for path in sorted(images.glob("*_m012.jpg"))[1:]:
        path.unlink()
    first = images / "P00000_R_m000.jpg"
    for name, alter in ALTERED.items():
        quality = 40 if name == "compressed" else 90
        save(images / f"{name}.jpg", alter(decode(first)), quality)
    (images / "again.jpg").write_bytes(first.read_bytes())
    pixels = np.ascontiguousarray(decode(first)[..., ::-1])
    assert cv2.imwrite(str(images / "lossless.png"), pixels)
    (images / "broken.jpg").write_bytes(first.read_bytes()[:3000])
    return images


@pytest.fixture(scope="module")
def cases(folder):
    return [Case(image=path.name, path=str(path)) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def found(cases):
    return find_duplicates(cases)


def connected(cases, found, name):
    """The kinds of the pairs between a photograph and the original or its exact copies."""
    originals = {"P00000_R_m000.jpg", "again.jpg", "lossless.png"}
    kinds = {}
    for pair in found.pairs:
        ends = {cases[pair.first].image, cases[pair.second].image}
        if name in ends and ends & (originals - {name}):
            kinds[pair.kind] = pair
    return kinds


def test_the_same_bytes_are_one_file_and_a_lossless_copy_the_same_pixels(cases, found):
    assert set(connected(cases, found, "again.jpg")) >= {"file"}
    assert set(connected(cases, found, "lossless.png")) == {"pixels"}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_copy_is_the_same_photograph(cases, found, name):
    kinds = connected(cases, found, f"{name}.jpg")
    assert set(kinds) == {"photograph"}
    assert kinds["photograph"].mirrored == (name == "mirrored")


def test_another_visit_of_the_eye_is_another_photograph(cases, found):
    (name,) = [case.image for case in cases if case.image.endswith("_m012.jpg")]
    pairs = [p for p in found.pairs if name in (cases[p.first].image, cases[p.second].image)]
    assert pairs
    assert {pair.kind for pair in pairs} == {"eye"}


def test_different_eyes_are_never_connected(cases, found):
    def eye(case):  # all altered copies are of the first right eye
        return case.image[:8] if case.image.startswith("P0") else "P00000_R"

    (visit,) = [case.image for case in cases if case.image.endswith("_m012.jpg")]
    assert visit.startswith("P00000_L")
    assert len({eye(case) for case in cases}) == 8
    assert all(eye(cases[p.first]) == eye(cases[p.second]) for p in found.pairs)


def test_an_unreadable_photograph_is_reported_and_left_out(cases, found):
    assert [failed.case.image for failed in found.failed] == ["broken.jpg"]
    bad = [case.image for case in cases].index("broken.jpg")
    assert all(bad not in (pair.first, pair.second) for pair in found.pairs)


def test_descriptors_alone_make_a_candidate(cases):
    # nothing is like itself by a fingerprint above 1, so only the descriptors propose
    names = [case.image for case in cases]
    two = [cases[names.index("P00000_R_m000.jpg")], cases[names.index("turned.jpg")]]
    blind = Settings(likeness=1.0)
    alike = np.array([[1, 0], [1, 0]], np.float32)
    assert [pair.kind for pair in find_duplicates(two, alike, blind).pairs] == ["photograph"]
    assert find_duplicates(two, np.eye(2, dtype=np.float32), blind).pairs == ()
    with pytest.raises(ValueError, match="3 descriptors for 2 cases"):
        find_duplicates(two, np.eye(3, dtype=np.float32))


def test_no_photograph_and_one_photograph_have_no_pair(cases):
    assert find_duplicates([]).pairs == ()
    assert find_duplicates(cases[:1]).pairs == ()


def test_mirrored_features_are_those_of_the_mirrored_picture(folder):
    square = reg.square(decode(folder / "P00001_L_m000.jpg"))
    flipped = np.ascontiguousarray(square[:, ::-1])
    plain = reg.features(square)
    right = agree(reg.features(flipped), reg.mirrored(plain))
    assert right.inliers > 0.5 * len(plain.points)
    assert np.abs(right.affine - np.eye(2, 3)).max() < 1.5  # pixels, as nothing has moved
    assert agree(reg.features(flipped), plain).inliers < 8


def test_a_known_move_is_found_and_undone(folder):
    square = reg.square(decode(folder / "P00002_L_m000.jpg"))
    moved = turned(square, 7)
    agreed = agree(reg.features(square), reg.features(moved))
    cosine = np.cos(np.radians(7))
    assert agreed.affine[:, :2] == pytest.approx(
        np.array([[cosine, -np.sin(np.radians(7))], [np.sin(np.radians(7)), cosine]]), abs=0.01
    )
    seen = reg.compare(square, moved, agreed.affine)
    assert seen.correlation > 0.95
    assert seen.light < 0.1
    assert seen.overlap > 0.9


def test_a_map_that_is_off_is_refined_to_a_fraction_of_a_pixel(folder):
    square = reg.square(decode(folder / "P00002_L_m000.jpg"))
    moved = cv2.warpAffine(square, np.float32([[1, 0, 3.5], [0, 1, -2.25]]), (reg.SIDE, reg.SIDE))
    near = np.array([[1, 0, -3], [0, 1, 2]], np.float32)  # pixels; -3.5 and 2.25 are right
    flat = [reg._flat(x[..., 1].astype(np.float32), reg._inside(x)) for x in (square, moved)]
    found = reg._refined(*flat, reg._inside(square), near)
    assert found == pytest.approx(np.array([[1, 0, -3.5], [0, 1, 2.25]]), abs=0.2)


def test_a_map_on_half_the_pixels_leads_to_the_same_places():
    affine = np.array([[0.9, -0.2, 11.0], [0.1, 1.1, -4.0]])
    half = reg._scaled(affine, 0.5)
    place = np.array([100.0, 60.0])  # on the whole; on half of the pixels (place - 0.5) / 2
    there = affine[:, :2] @ place + affine[:, 2]
    assert half[:, :2] @ ((place - 0.5) / 2) + half[:, 2] == pytest.approx((there - 0.5) / 2)
    assert reg._scaled(half, 2.0) == pytest.approx(affine)


def test_without_the_light_the_rest_is_the_same(folder):
    square = reg.square(decode(folder / "P00002_L_m000.jpg"))
    still = np.eye(2, 3, dtype=np.float32)
    whole = reg.compare(square, turned(square, 1), still)
    dark = reg.compare(square, turned(square, 1), still, light=False)
    assert (dark.correlation, dark.overlap) == (whole.correlation, whole.overlap)
    assert np.isnan(dark.light)


def test_light_that_falls_from_elsewhere_is_no_copy(folder):
    square = reg.square(decode(folder / "P00002_L_m000.jpg"))
    fall = np.linspace(0.7, 1.3, reg.SIDE)[None, :, None]
    lit = np.clip(square * fall, 0, 255).astype(np.uint8)
    same = np.clip(square * 0.8 + 10, 0, 255).astype(np.uint8)
    still = np.eye(2, 3, dtype=np.float32)
    assert reg.compare(square, lit, still).light > 3 * Settings().light
    assert reg.compare(square, same, still).light < 0.5 * Settings().light


def test_nearest_matches_a_slow_loop_across_blocks(monkeypatch):
    monkeypatch.setattr(fingerprint, "_BLOCK", 100)  # 5 rows of 20 at a time
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 20, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    slow = set()
    for i in range(20):
        others = sorted((j for j in range(20) if j != i), key=lambda j: -rows[0, i] @ rows[1, j])
        slow |= {(i, j) for j in others[:3] if rows[0, i] @ rows[1, j] >= 0.2}
    found = list(fingerprint.nearest(rows[0], rows[1], 3, 0.2))
    assert {(i, j) for i, j, _ in found} == slow
    assert len(found) == len(slow) > 20
    assert all(value == pytest.approx(rows[0, i] @ rows[1, j], abs=1e-6) for i, j, value in found)


# Groups, from a manifest made by hand


def case(name, collection="a", **known):
    split = known.pop("split", None)
    extra = {} if split is None else {"split": split}
    return Case(image=name, path=f"/{name}", collection=collection, extra=extra, **known)


HAND = [
    case("0", subject="s", eye="left", grade=1, split="train"),
    case("1", subject="t", eye="left", grade=3, split="test"),  # a copy of 0 with all flaws
    case("2", subject="s", eye="left", grade=4, split="train"),  # a later visit of 0
    case("3", subject="u", eye="left"),
    case("4", subject="u", eye="left", grade=2),  # another visit of 3: no flaw
    case("5", subject="v", findings=frozenset("D")),
    case("6", "b", subject="w", findings=frozenset("X")),  # a copy of 5 in another data set
]
PAIRS = [
    Pair(3, 4, "eye", inliers=90),
    Pair(5, 6, "photograph", inliers=80),
    Pair(0, 2, "eye", inliers=70),
    Pair(0, 1, "photograph", inliers=60),
]


def test_groups_by_hand_come_worst_first():
    worst, across, visits = group(HAND, PAIRS)
    assert (worst.members, across.members, visits.members) == ((0, 1, 2), (5, 6), (3, 4))
    assert worst.kind == "photograph"
    assert worst.contradictions == ("grade",)  # not of the later visit
    assert (worst.across_splits, worst.across_subjects) == (True, True)
    assert across.contradictions == ()  # other data sets name findings in other words
    assert (across.across_subjects, across.across_collections) == (False, True)
    assert [one.expected for one in (worst, across, visits)] == [False, False, True]


def test_a_contradiction_outranks_a_closer_copy():
    pairs = [Pair(3, 4, "file"), Pair(0, 1, "photograph", inliers=60)]
    assert [one.members for one in group(HAND, pairs)] == [(0, 1), (3, 4)]


def test_one_eye_called_left_and_right_contradicts_even_between_visits():
    two = [case("0", subject="s", eye="left"), case("1", subject="s", eye="right")]
    (only,) = group(two, [Pair(0, 1, "eye", inliers=50)])
    assert only.contradictions == ("eye",)
    assert not only.expected


def test_findings_of_one_data_set_contradict():
    two = [case("0", findings=frozenset("D")), case("1", findings=frozenset())]
    (only,) = group(two, [Pair(0, 1, "file")])
    assert only.contradictions == ("findings",)
    assert not only.across_subjects  # both are unknown


def test_one_eye_of_unknown_subjects_is_not_expected_as_a_split_may_part_it():
    unknown, known = [case("0"), case("1")], [case(n, subject="s") for n in "01"]
    (apart,), (together,) = (group(two, [Pair(0, 1, "eye", inliers=50)]) for two in (unknown, known))
    assert (apart.unknown_subjects, apart.expected) == (True, False)
    assert (together.unknown_subjects, together.expected) == (False, True)


def test_the_summary_counts_pairs_by_two_data_sets_and_kind():
    rows = summary(HAND, group(HAND, PAIRS))
    assert [(row["collections"], row["kind"], row["pairs"]) for row in rows] == [
        (["a", "a"], "photograph", 1),
        (["a", "a"], "eye", 2),
        (["a", "b"], "photograph", 1),
    ]
    assert [row["contradicting"] for row in rows] == [1, 0, 0]
    assert [row["across_subjects"] for row in rows] == [1, 0, 0]
    assert [row["across_splits"] for row in rows] == [1, 0, 0]


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"cosine": 1.5}, {"light": -0.1}, {"inliers": 3}])
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


# The command


@pytest.fixture(scope="module")
def manifest(folder):
    path = folder / "labels.csv"
    rows = [
        ("P00000_R_m000.jpg", "secret-1", 0, "train"),
        ("compressed.jpg", "secret-2", 2, "test"),
        ("P00000_L_m000.jpg", "secret-3", 1, "train"),
        ("P00000_L_m012.jpg", "secret-3", 1, "train"),
        ("P00001_L_m000.jpg", "secret-4", 1, "test"),
        ("broken.jpg", "secret-5", 1, "test"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "subject", "grade", "split"), *rows])
    yield path
    path.unlink()


def foveola(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "foveola", "duplicates", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_command_prints_the_worst_first_and_no_subject(manifest):
    done = foveola(manifest)
    assert done.returncode == 3, done.stderr  # done, but for the broken file
    first = done.stdout.split("\n\n")[1]
    assert "1. same photograph; labels contradict (grade); across splits; other subject" in first
    assert "compressed.jpg  (grade 2, split test)" in first
    assert "1 groups are photographs of one eye of one subject (--expected)" in done.stdout
    assert "broken.jpg" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_the_command_as_json_and_for_continuous_integration(manifest):
    done = foveola(manifest, "--json", "--encoder", "none", "--fail-on-duplicates")
    assert done.returncode == 1
    assert "duplicates were found" in done.stderr
    values = json.loads(done.stdout)
    assert [one["kind"] for one in values["groups"]] == ["photograph", "eye"]
    assert values["groups"][0]["pairs"][0]["inliers"] >= Settings().inliers
    assert [one["image"] for one in values["failed"]] == ["broken.jpg"]
    assert "secret" not in done.stdout


def test_the_command_refuses_what_it_cannot_use(manifest, tmp_path):
    twice = foveola(manifest, manifest)
    assert twice.returncode == 1
    assert "is named twice" in twice.stderr
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    none = foveola(tmp_path, "--encoder", "none")
    assert none.returncode == 1
    assert "none of the 1 photographs can be used" in none.stderr
    assert "Traceback" not in twice.stderr + none.stderr
