import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveola.errors import FoveolaError
from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.records import Case

KS = (1, 3, 7)


def left_out(exclude, one, other, queries, gallery):
    if exclude == "none" or queries.identities[one] != gallery.identities[other]:
        return False
    if exclude == "subject":
        return True
    a, b = getattr(queries, f"{exclude}s")[one], getattr(gallery, f"{exclude}s")[other]
    return a is None or b is None or a == b


def gain(a, b, names, label):
    """Of two label sets, as one would say it."""
    one, other = ({name for name, has in zip(names, row, strict=True) if has} for row in (a, b))
    if label == "grade":
        return 1 - abs(int(*one) - int(*other)) / 4
    return len(one & other) / len(one | other)


def dcg(gains, k):
    return sum(g / math.log2(i + 2) for i, g in enumerate(gains[:k]))


def slow(queries, gallery, exclude="subject"):
    """Per query and metric by plain loops; queries is gallery for leave-one-out."""
    rows = []
    for q in range(len(queries.identities)):
        left = []
        for g in range(len(gallery.identities)):
            if gallery is queries and g == q:
                continue
            if left_out(exclude, q, g, queries, gallery):
                continue
            a, b = queries.descriptors[q].astype(float), gallery.descriptors[g].astype(float)
            cosine = round(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), 9)
            left.append((-cosine, g, bool((queries.labels[q] & gallery.labels[g]).any())))
        order = sorted(left)
        hits = [relevant for _, _, relevant in order]
        gains = [gain(queries.labels[q], gallery.labels[g], queries.label_names, queries.label) for _, g, _ in order]
        sums = [
            sum(hits[i] * sum(hits[: i + 1]) / (i + 1) for i in range(min(k, len(hits))))
            for k in range(len(hits) + max(KS) + 1)
        ]
        row = {}
        for k in KS:
            row[f"mHR@{k}"] = sum(hits[:k]) / k
            row[f"hit@{k}"] = max(hits[:k], default=0)
            row[f"mAP@{k}"] = sums[k] / k
            row[f"mAP@{k} per hit"] = sums[k] / max(1, sum(hits[:k]))
            best = dcg(sorted(gains, reverse=True), k)
            row[f"nDCG@{k}"] = dcg(gains, k) / best if best else math.nan
        R = sum(hits)
        row["mAP"] = sums[len(hits)] / R if R else math.nan
        row["mAP@R"] = sums[R] / R if R else math.nan
        row["R-precision"] = sum(hits[:R]) / R if R else math.nan
        row["MRR"] = 1 / (hits.index(True) + 1) if R else math.nan
        rows.append(row)
    return rows


def check(evaluation, queries, rows):
    assert set(evaluation.metrics) == set(rows[0])
    for name, metric in evaluation.metrics.items():
        values = np.array([row[name] for row in rows])
        known = ~np.isnan(values)
        expected = values[known].mean() if known.any() else math.nan
        assert metric.value.micro == pytest.approx(expected, nan_ok=True)
        groups = {}
        for i, label in enumerate(queries.label_names):
            carried = queries.labels[:, i] & known
            if carried.any():
                groups[label] = values[carried].mean()
                assert metric.queries[label] == carried.sum()
        assert metric.value.per_label == pytest.approx(groups)
        if groups:
            assert metric.value.macro == pytest.approx(np.mean(list(groups.values())))


@st.composite
def sides(draw, names=("a", "b", "c")):
    n = draw(st.integers(2, 12))
    # Whole numbers of a small range: ties, duplicates and negative cosines abound.
    rows = draw(hnp.arrays(np.float32, (n, 2), elements=st.sampled_from([-2.0, -1.0, 1.0, 2.0])))
    labels = draw(hnp.arrays(bool, (n, len(names))))
    labels[0, 0] = labels[1, 0] = True
    identities, eyes, visits = (
        draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
        for values in (range(6), ("left", "right", None), (0.0, 12.0, None))
    )
    return RetrievalData(rows, labels, identities, tuple(names), eyes=eyes, visits=visits)


@settings(deadline=None, max_examples=40)
@given(side=sides(), out=st.sampled_from(["subject", "eye", "visit", "none"]))
def test_leave_one_out_matches_slow_loops(side, out):
    got = evaluate_retrieval(side, ks=KS, exclude=out, bootstrap=0)
    asked = side.labelled()
    check(got, asked, slow(asked, asked, out))


@settings(deadline=None, max_examples=40)
@given(queries=sides(), gallery=sides(("c", "d", "a")), out=st.sampled_from(["subject", "eye", "visit", "none"]))
def test_two_sides_with_differing_label_names_match_slow_loops(queries, gallery, out):
    got = evaluate_retrieval(queries, gallery, ks=KS, exclude=out, bootstrap=0)
    names = ("a", "b", "c", "d")
    wide = []
    for side in (queries.labelled(), gallery.labelled()):
        columns = [
            side.labels[:, side.label_names.index(n)] if n in side.label_names else np.zeros(len(side.labels), bool)
            for n in names
        ]
        wide.append(dataclasses.replace(side, labels=np.column_stack(columns), label_names=names))
    check(got, wide[0], slow(*wide, out))


@pytest.fixture(scope="module")
def crowd():
    """400 images of 150 people, five grades as rare as in life, random descriptors."""
    generator = np.random.default_rng(4)
    grades = generator.choice(5, size=400, p=[0.6, 0.1, 0.2, 0.06, 0.04])
    rows = generator.normal(size=(400, 16)).astype(np.float32)
    return RetrievalData(rows, grades, generator.integers(150, size=400).tolist(), label="grade")


def test_random_descriptors_reach_the_chance_level(crowd):
    generator = np.random.default_rng(9)
    totals = {}
    for _ in range(30):
        rows = generator.normal(size=(400, 8)).astype(np.float32)
        side = dataclasses.replace(crowd, descriptors=rows)
        got = evaluate_retrieval(side, ks=(1, 10), bootstrap=0)
        for name, metric in got.metrics.items():
            totals.setdefault(name, []).append((metric.value.micro, metric.value.macro))
    for name, metric in got.metrics.items():
        mean = np.mean(totals[name], axis=0)
        error = np.std(totals[name], axis=0) / math.sqrt(30) + 1e-4
        assert abs(mean - [metric.chance.micro, metric.chance.macro]) / error == pytest.approx([0, 0], abs=4)


def test_the_block_size_does_not_change_results(crowd):
    whole = evaluate_retrieval(crowd, bootstrap=20)
    for block in (1, 7, 400):
        assert evaluate_retrieval(crowd, bootstrap=20, block=block) == whole


def test_descriptors_that_are_the_labels_are_perfect(crowd):
    codes = crowd.labels.argmax(axis=1)
    got = evaluate_retrieval(dataclasses.replace(crowd, descriptors=np.eye(5, dtype=np.float32)[codes]), ks=(5,))
    assert [m.value.macro for m in got.metrics.values()] == pytest.approx([1] * 9)
    assert got.metrics["mAP@R"].interval() == pytest.approx((1, 1))


def test_results_depend_on_angles_only(crowd):
    scaled = crowd.descriptors * np.linspace(0.5, 9, 400, dtype=np.float32)[:, None]
    turned = scaled[:, ::-1]
    got = evaluate_retrieval(dataclasses.replace(crowd, descriptors=turned), bootstrap=0)
    for name, metric in evaluate_retrieval(crowd, bootstrap=0).metrics.items():
        assert got.metrics[name].value.micro == pytest.approx(metric.value.micro, abs=1e-3)


# Four photographs on a line of angles, two of them of person p: 0, 10, 20 and 90 degrees.
def four(grades=(1, 1, 0, 1), people=("p", "p", "q", "r")):
    angles = np.radians([0, 10, 20, 90])
    return RetrievalData(np.column_stack([np.cos(angles), np.sin(angles)]), np.array(grades), people, label="grade")


def test_the_same_subject_is_left_out_and_counted():
    got = evaluate_retrieval(four(), ks=(1,), bootstrap=0)
    # 0 and 10 degrees may not see each other and meet 20 (wrong); 20 meets 10 (wrong); 90 meets 20.
    assert got.metrics["mHR@1"].value.micro == 0
    assert (got.excluded_pairs, got.queries_with_exclusions) == (2, 2)


def test_the_same_subject_is_ranked_on_request_but_never_the_query_itself():
    got = evaluate_retrieval(four(), ks=(1,), bootstrap=0, exclude="none")
    assert got.metrics["mHR@1"].value.micro == pytest.approx(2 / 4)  # 0 and 10 meet each other
    assert (got.excluded_pairs, got.queries_with_exclusions) == (0, 0)
    assert "NOT excluded" in got.to_text()


def test_a_second_side_holding_the_query_itself_leaves_it_out_by_its_subject():
    got = evaluate_retrieval(four(), four(), ks=(1,), bootstrap=0)
    assert got.metrics["mHR@1"].value.micro == 0
    assert got.excluded_pairs == 2 + 2 + 1 + 1


def test_queries_without_relevant_images_count_zero_and_are_left_out_of_map_at_r():
    got = evaluate_retrieval(four(), ks=(1, 3), bootstrap=0)
    assert got.queries_without_relevant == 1  # the only grade 0
    assert got.metrics["mHR@3"].value.per_label["0"] == 0
    assert got.metrics["mHR@3"].queries == {"0": 1, "1": 3}
    assert got.metrics["mAP@R"].queries == {"1": 3}
    # 0 and 10 degrees: 20 wrong, 90 right, R = 1, so 0. 90: 20 wrong, 10, 0 right, R = 2: (1/2)/2.
    assert got.metrics["mAP@R"].value.micro == pytest.approx((0 + 0 + 0.25) / 3)
    assert got.metrics["mAP@R"].value.per_label == pytest.approx({"1": 0.25 / 3})


def test_unlabelled_images_are_neither_asked_nor_ranked():
    got = evaluate_retrieval(four(grades=(1, -1, 0, 1)), ks=(1,), bootstrap=0)
    assert (got.queries, got.gallery, got.unlabelled_queries, got.unlabelled_gallery) == (3, 3, 1, 1)
    both = evaluate_retrieval(four(grades=(1, -1, 0, 1)), four(people="abcd"), ks=(1,), bootstrap=0)
    assert (both.queries, both.gallery, both.unlabelled_queries, both.unlabelled_gallery) == (3, 4, 1, 0)
    assert both.metrics["mHR@1"].value.micro == 1  # nobody is excluded: each finds itself


def test_a_gallery_smaller_than_k_is_divided_by_k():
    got = evaluate_retrieval(four(people="abcd"), ks=(10,), bootstrap=0)
    assert got.metrics["mHR@10"].value.per_label["1"] == pytest.approx(2 / 10)
    assert got.metrics["mHR@10"].chance.per_label["1"] == pytest.approx(2 / 10)


def test_a_hit_at_k_is_any_right_one():
    got = evaluate_retrieval(four(people="abcd"), ks=(1, 2, 3), bootstrap=0)
    # 0 and 10 degrees meet each other; 20, the only grade 0, never; 90 meets 20, then 10
    assert [got.metrics[f"hit@{k}"].value.micro for k in (1, 2, 3)] == [2 / 4, 3 / 4, 3 / 4]
    assert got.metrics["hit@3"].queries == {"0": 1, "1": 3}
    # of three others two are right: one drawn is right in 2 of 3, two drawn always hold one
    for k, chance in ((1, 2 / 3), (2, 1), (3, 1)):
        assert got.metrics[f"hit@{k}"].chance.per_label == pytest.approx({"0": 0, "1": chance})
    row = next(line for line in got.to_text().splitlines() if line.startswith("hit@2"))
    assert row.split() == ["hit@2", "0.750", "-", "0.750", "0.500", "-", "0.500"]


def test_findings_are_relevant_when_they_share_one():
    rows = np.eye(4, dtype=np.float32) + 0.1
    found = [{"D", "H"}, {"H"}, {"G"}, set(), None]
    cases = [
        Case(image=f"{i}.jpg", path=f"/{i}.jpg", findings=None if f is None else frozenset(f))
        for i, f in enumerate(found)
    ]
    side = RetrievalData.from_cases(np.vstack([rows, rows[:1]]), cases, "findings")
    got = evaluate_retrieval(side, ks=(1, 2), bootstrap=0)
    assert side.label_names == ("D", "G", "H")
    assert (got.queries, got.unlabelled_queries) == (3, 2)
    assert got.metrics["mHR@2"].value.per_label == pytest.approx({"D": 0.5, "G": 0, "H": 0.5})
    assert got.metrics["mHR@2"].queries == {"D": 1, "G": 1, "H": 2}
    assert "per_label" in got.to_dict()["metrics"]["mHR@1"]


def test_cases_give_grade_column_and_identity():
    cases = [
        Case(image="a", path="/a", subject="1", collection="x", grade=0, extra={"dme": 2}),
        Case(image="b", path="/b", subject="1", collection="y", extra={"dme": ""}),
        Case(image="c", path="/c", subject="1", collection="x", grade=3),
    ]
    side = RetrievalData.from_cases(np.ones((3, 2)), cases, "grade")
    assert side.label_names == ("0", "3")
    assert side.labels.tolist() == [[True, False], [False, False], [False, True]]
    assert side.identities[0] == side.identities[2] != side.identities[1]
    column = RetrievalData.from_cases(np.ones((3, 2)), cases, "dme")
    assert (column.label_names, column.labels[:, 0].tolist()) == (("2",), [True, False, False])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_descriptors_that_are_not_numbers_are_refused(bad):
    rows = np.ones((3, 2))
    rows[1, 0] = bad
    with pytest.raises(ValueError, match="1 descriptors hold NaN or infinity, the first in row 1"):
        RetrievalData(rows, np.zeros(3, int), "abc")


def test_descriptors_without_direction_are_refused():
    with pytest.raises(ValueError, match="all zero, the first in row 2"):
        RetrievalData(np.float32([[1, 0], [0, 1], [0, 0]]), np.zeros(3, int), "abc")


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        (np.zeros(2, int), (), r"got \(3, 2\), \(2,\) and 3"),
        (np.array([0.0, 1.0, 2.0]), (), "labels int"),
        (np.array([0, 1, 2]), ("a", "b"), "codes from -1 to 1"),
        (np.array([0, -2, 0]), (), "codes from -1"),
        (np.ones((3, 2), bool), ("a",), "2 different label names"),
        (np.ones((3, 2), bool), ("a", "a"), "2 different label names"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, names, words):
    with pytest.raises(ValueError, match=words):
        RetrievalData(np.ones((3, 2)), labels, "abc", names)


def test_descriptors_of_two_widths_are_refused():
    with pytest.raises(ValueError, match="of 2 numbers, the gallery of 3"):
        evaluate_retrieval(four(), RetrievalData(np.ones((1, 3)), np.zeros(1, int), "a", label="grade"))


def test_sides_labelled_by_different_things_are_refused():
    with pytest.raises(ValueError, match="labelled by 'grade', not by 'findings'"):
        evaluate_retrieval(four(), dataclasses.replace(four(), label="findings"))


def test_queries_without_any_label_are_refused():
    with pytest.raises(FoveolaError, match="none of the 4 images has a grade as query"):
        evaluate_retrieval(four(grades=(-1, -1, -1, -1)))


@pytest.mark.parametrize("count", [0, 4])
def test_a_gallery_without_any_label_is_refused(count):
    gallery = RetrievalData(np.ones((count, 2)), np.full(count, -1), list(range(count)), label="grade")
    with pytest.raises(FoveolaError, match=f"none of the {count} images has a grade as gallery"):
        evaluate_retrieval(four(), gallery)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ks": ()}, "ks must"),
        ({"ks": (0,)}, "ks must"),
        ({"confidence": 95}, "confidence"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"exclude": "person"}, "exclude is 'person'; expected subject, eye, visit, none"),
        ({"exclude": "eye"}, "a side has no eyes"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        evaluate_retrieval(four(), **arguments)


def test_grades_are_graded_by_their_distance_in_ndcg():
    # The query of grade 1 finds grades 2 and 4: gains 3/4 and 1/4, in the best order.
    angles = np.radians([0, 10, 20])
    side = RetrievalData(
        np.column_stack([np.cos(angles), np.sin(angles)]), np.array([0, 1, 2]), "abc", ("1", "2", "4"), label="grade"
    )
    got = evaluate_retrieval(side, ks=(1, 2), bootstrap=0).metrics["nDCG@2"]
    assert got.value.per_label["1"] == 1
    # grade 4 finds 2, then 1: gains 1/2 and 1/4, again in the best order; grade 2, in the middle,
    # has a tie of which 1 comes first: 3/4 and 1/2
    assert got.value.per_label == pytest.approx({"1": 1, "2": 1, "4": 1})
    both = (0.75 + 0.25) / 2 * (1 + 1 / math.log2(3))
    assert got.chance.per_label["1"] == pytest.approx(both / (0.75 + 0.25 / math.log2(3)))


def test_subgroups_are_the_evaluation_of_their_queries():
    generator = np.random.default_rng(2)
    cameras = ["A" if i % 3 else None for i in range(60)]
    side = RetrievalData(
        generator.normal(size=(60, 4)).astype(np.float32),
        generator.integers(2, size=60),
        generator.integers(30, size=60).tolist(),
        columns={"camera": cameras},
    )
    got = evaluate_retrieval(side, ks=(5,), bootstrap=100)
    assert list(got.subgroups["camera"]) == ["A", "unknown"]
    for value, name in (("A", "A"), (None, "unknown")):
        rows = np.array([camera == value for camera in cameras])
        for m, metric in enumerate(got.subgroups["camera"][name].values()):
            found = np.nanmean(got.per_query.values[rows, m])
            assert metric.value.micro == pytest.approx(found)
            assert metric.low.micro <= found <= metric.high.micro
        assert metric.total == rows.sum()
    assert "mAP@5 of the queries by camera:" in got.to_text()


def test_what_was_found_is_told_by_label():
    got = evaluate_retrieval(four(people="abcd"), ks=(2,), bootstrap=0)
    # 0 degrees finds 10 and 20 (1, 0), 10 finds 0 and 20 (1, 0), 90 finds 20 and 10 (0, 1);
    # 20, the only grade 0, finds 10 and 0
    assert got.retrieved == {"0": {"0": 0, "1": 1}, "1": {"0": 0.5, "1": 0.5}}
    assert got.retrieved_at == 2


def test_columns_of_cases_are_kept_and_ages_banded():
    cases = [
        Case(image=f"{i}", path=f"/{i}", grade=1, eye="left", extra={"age": 20 + i, "camera": "K"}) for i in range(13)
    ]
    cases.append(Case(image="x", path="/x", grade=1, extra={"age": ""}))
    side = RetrievalData.from_cases(np.ones((14, 2)), cases, "grade", by=("age", "camera", "eye"))
    assert side.columns["age"] == ["20-29"] * 10 + ["30-39"] * 3 + [None]
    assert side.columns["camera"] == ["K"] * 13 + [None]
    assert side.columns["eye"][-2:] == ["left", None]
    with pytest.raises(FoveolaError, match="no image has a column 'site'"):
        RetrievalData.from_cases(np.ones((14, 2)), cases, "grade", by=("site",))


def test_ranks_are_sorted_and_counted_once():
    assert list(evaluate_retrieval(four(), ks=(5, 1, 5), bootstrap=0).metrics) == [
        *("mHR@1", "mHR@5", "hit@1", "hit@5"),
        *("mAP@1", "mAP@5", "mAP@1 per hit", "mAP@5 per hit"),
        *("nDCG@1", "nDCG@5", "mAP", "mAP@R", "R-precision", "MRR"),
    ]


def test_a_single_labelled_image_is_asked_and_finds_nothing():
    got = evaluate_retrieval(RetrievalData(np.ones((1, 2)), np.zeros(1, int), "a"), ks=(1,))
    assert got.metrics["mHR@1"].value.micro == 0
    assert got.metrics["mAP@R"].to_dict("per_label")["micro"] is None


def test_json_has_every_key_and_no_nan(crowd):
    got = json.loads(json.dumps(evaluate_retrieval(crowd, bootstrap=50).to_dict(), allow_nan=False))
    assert got["label"] == "grade"
    assert set(got["excluded_same_subject"]) == {"pairs", "queries"}
    at = ("mHR@{}", "hit@{}", "mAP@{}", "mAP@{} per hit", "nDCG@{}")
    expected = [name.format(k) for name in at for k in (1, 5, 10, 20, 50)]
    assert list(got["metrics"]) == [*expected, "mAP", "mAP@R", "R-precision", "MRR"]
    for metric in got["metrics"].values():
        assert set(metric) == {"micro", "macro", "per_grade", "chance", "interval", "queries"}
        for part in (metric, metric["chance"], metric["interval"]):
            assert set(part["per_grade"]) == {"0", "1", "2", "3", "4"}
        for mean in ("micro", "macro"):
            low, high = metric["interval"][mean]
            assert low <= metric[mean] <= high


def test_no_interval_is_null_in_json(crowd):
    got = evaluate_retrieval(crowd, bootstrap=0).to_dict()["metrics"]["mHR@5"]["interval"]
    assert got["micro"] is got["macro"] is got["per_grade"]["4"] is None


def test_text_and_markdown_name_value_interval_and_chance(crowd):
    got = evaluate_retrieval(crowd, bootstrap=50)
    metric = got.metrics["mAP@10"]
    low, high = metric.interval()
    cells = [f"{metric.value.micro:.3f}", f"{low:.3f} to {high:.3f}", f"{metric.chance.micro:.3f}"]
    text = next(line for line in got.to_text().splitlines() if line.startswith("mAP@10"))
    assert text.split("  ")[0] == "mAP@10"
    assert all(cell in text for cell in cells)
    row = next(line for line in got.to_markdown().splitlines() if line.startswith("| mAP@10"))
    assert [cell.strip() for cell in row.strip("|").split("|")][1:4] == cells
    assert "400 queries against 400 images by grade" in got.to_text()
    by_grade = got.to_text().split("chance in brackets:\n\n")[1].splitlines()
    assert by_grade[0].split() == ["grade", "0", "1", "2", "3", "4"]
    assert by_grade[1].split() == ["queries", *(f"{n}" for n in metric.queries.values())]
    chance = metric.chance.per_label["0"]
    row = next(line for line in by_grade if line.startswith("mAP@10"))
    assert f"{metric.value.per_label['0']:.3f} ({chance:.3f})" in row
