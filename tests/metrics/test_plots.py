import dataclasses
import sys

import numpy as np
import pytest

from foveola.errors import FoveolaError, MissingExtraError
from foveola.metrics import RetrievalData, evaluate_retrieval

pytest.importorskip("matplotlib")

from foveola.metrics.drawing import ordinal_colours
from foveola.metrics.plots import (
    plot_map,
    plot_precision,
    plot_retrieved,
    plot_subjects,
    project,
    subject_means,
    write_plots,
)


def people(seed=0, images=60, width=6):
    generator = np.random.default_rng(seed)
    grades = generator.choice(3, size=images)
    rows = generator.normal(size=(images, width)) + 2 * np.eye(width)[grades]
    return RetrievalData(
        rows.astype(np.float32),
        grades,
        (np.arange(images) // 3).tolist(),
        ("0", "2", "4"),
        "grade",
        columns={"camera": [["K", "T", None][i % 3] for i in range(images)]},
    )


@pytest.fixture(scope="module")
def side():
    return people()


@pytest.fixture(scope="module")
def evaluation(side):
    return evaluate_retrieval(side, ks=(1, 5, 10), bootstrap=50)


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_precision_is_drawn_as_it_was_measured(evaluation):
    figure = plot_precision({"A": evaluation})
    found = [evaluation.metrics[f"mHR@{k}"] for k in (1, 5, 10)]
    macro, _, second, *_ = panels = figure.axes
    assert lines(macro) == {"A": [m.value.macro for m in found], "chance": [m.chance.macro for m in found]}
    assert lines(second)["A"] == [m.value.per_label["2"] for m in found]
    band = second.collections[0].get_datalim(second.transData)
    assert band.y0 == min(m.low.per_label["2"] for m in found)
    assert band.y1 == max(m.high.per_label["2"] for m in found)
    queries = found[0].queries["2"]
    assert second.get_title().startswith(f"grade 2\n{queries} queries of ")
    assert [one.get_visible() for one in panels] == [True] * 4 + [False] * 2
    assert macro.get_ylim() == (0, 1)


def test_two_evaluations_share_one_chance_line_if_their_gallery_is_one(side, evaluation):
    other = evaluate_retrieval(people(seed=1), ks=(1, 5, 10), bootstrap=0)
    turned = dataclasses.replace(side, descriptors=side.descriptors[:, ::-1])
    same = evaluate_retrieval(turned, ks=(1, 5, 10), bootstrap=0)
    assert list(lines(plot_precision({"A": evaluation, "B": same}).axes[0])) == ["A", "B", "chance"]
    apart = lines(plot_precision({"A": evaluation, "B": other}).axes[0])
    assert list(apart) == ["A", "B", "A, chance", "B, chance"]
    assert apart["B, chance"] == [other.metrics[f"mHR@{k}"].chance.macro for k in (1, 5, 10)]


def test_what_was_found_stands_in_its_cell(evaluation):
    one = plot_retrieved({"A": evaluation}).axes[0]
    cells = {text.get_position(): text.get_text() for text in one.texts}
    assert cells == {
        (j, i): f"{share:.2f}"
        for i, row in enumerate(evaluation.retrieved.values())
        for j, share in enumerate(row.values())
    }
    asked = [text.get_text() for text in one.get_yticklabels()]
    assert asked == [f"{g}  (n = {n})" for g, n in evaluation.metrics["mHR@1"].queries.items()]


def test_subject_means_by_hand():
    # p asks twice and finds q, then p is left out; q (alone of its grade) has no mAP@R at all.
    angles = np.radians([0, 10, 20, 90])
    four = RetrievalData(
        np.column_stack([np.cos(angles), np.sin(angles)]), np.array([1, 1, 0, 1]), "ppqr", label="grade"
    )
    got = evaluate_retrieval(four, ks=(1, 3), bootstrap=0)
    # p: 0 and 10 degrees meet 20 (wrong), then 90 (right), so HR@3 1/3. q: nothing of its grade.
    # r: 20 (wrong), 10, 0: 2/3. Chance: p has 1 of 2 in three ranks, 1/3; q 0; r 2 of 3.
    value, chance = subject_means(got, "mHR@3")
    assert value == pytest.approx([1 / 3, 0, 2 / 3])
    assert chance == pytest.approx([1 / 3, 0, 2 / 3])
    value, _ = subject_means(got, "mAP@R")
    assert value == pytest.approx([0, 1 / 4])
    with pytest.raises(ValueError, match="no metric 'mAP@7'; expected one of mHR@1, mHR@3"):
        subject_means(got, "mAP@7")


def test_the_histogram_counts_every_subject_and_names_the_median(evaluation):
    one = plot_subjects({"A": evaluation}, "mHR@5").axes[0]
    values, _ = subject_means(evaluation, "mHR@5")
    assert sum(bar.get_height() for bar in one.patches) == len(values) == 20
    assert one.get_lines()[0].get_label() == f"median {np.median(values):.2f}"
    assert one.get_title() == "A: 20 subjects"


def test_evaluations_that_do_not_go_together_are_refused(evaluation):
    other = dataclasses.replace(evaluation, label="findings")
    with pytest.raises(ValueError, match="by findings and by grade"):
        plot_precision({"A": evaluation, "B": other})
    with pytest.raises(ValueError, match="expected 1 to 8 evaluations, got 0"):
        plot_retrieved({})


def test_components_of_a_known_cloud():
    # On the unit circle at +-30 degrees of the x axis, and opposite: all variance is along two
    # axes, cos^2 30 = 3/4 of it along the first.
    angles = np.radians([30, -30, 150, 210])
    rows = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    got = project(rows * [[1], [5], [2], [9]])  # lengths do not matter
    assert got.explained == pytest.approx((0.75, 0.25))
    assert got.places == pytest.approx(rows, abs=1e-6)
    thin = project(np.float32([[1], [-1], [2], [3]]))
    assert thin.explained == pytest.approx((1, 0))
    assert not thin.places[:, 1].any()


def test_tsne_keeps_groups_together():
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)
    rows = np.repeat(np.eye(3), 20, axis=0) + generator.normal(scale=0.05, size=(60, 3))
    got = project(rows.astype(np.float32), "tsne")
    assert got.explained is None
    distance = np.linalg.norm(got.places[:, None] - got.places, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 20 == np.arange(60) // 20).all()


def test_a_map_shows_every_image_by_label_and_column(side):
    figure = plot_map(side)
    for one, values in zip(figure.axes, (side.labels.argmax(axis=1), side.columns["camera"]), strict=True):
        assert sum(len(c.get_offsets()) for c in one.collections) == 60
        words = [text.get_text() for text in one.get_legend().get_texts()]
        assert sum(int(word.split("(")[1].strip(")")) for word in words) == 60
        assert len(words) == len(set(values))
    assert figure.axes[0].get_title() == "by grade"
    assert "unknown (20)" in words
    assert "% of variance" in figure.axes[0].get_xlabel()


def test_a_map_lumps_rare_values_and_several_labels():
    generator = np.random.default_rng(0)
    labels = np.zeros((60, 10), bool)
    labels[np.arange(60), np.minimum(np.arange(60) // 2, 9)] = True  # nine of two, one of 42
    labels[0, 1] = True
    side = RetrievalData(
        generator.normal(size=(60, 3)), labels, range(60), label="findings", label_names=tuple("abcdefghij")
    )
    legend = plot_map(side).axes[0].get_legend()
    words = {text.get_text() for text in legend.get_texts()}
    assert {"several (1)", "other (5)", "j (42)"} < words
    assert len(words) == 2 + 7


def test_ordinal_colours_run_from_light_to_dark():
    luminance = [
        sum(w * int(c[i : i + 2], 16) for w, i in ((0.2126, 1), (0.7152, 3), (0.0722, 5))) for c in ordinal_colours(5)
    ]
    assert min(-np.diff(luminance)) > 20  # of 255, so each step is seen in grey too


def test_all_figures_are_written_1000_pixels_wide_and_alike_each_time(side, evaluation, tmp_path):
    first = write_plots(tmp_path / "a/b", {"A": evaluation}, side, note="phantoms")
    names = ["precision.png", "retrieved.png", "subjects.png", "map.png"]
    assert [path.name for path in first] == names
    widths = {int.from_bytes(path.read_bytes()[16:20], "big") for path in first}  # of the header
    assert widths == {1000}
    again = write_plots(tmp_path / "c", {"A": evaluation}, side, note="phantoms")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_too_few_images_for_a_map_are_refused():
    with pytest.raises(FoveolaError, match="at least 4 images, got 3"):
        project(np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="method is 'umap'"):
        project(np.ones((4, 2), np.float32), "umap")


@pytest.mark.parametrize(
    ("library", "words"), [("matplotlib", r"pip install 'foveola\[train\]'"), ("sklearn", "pip install scikit-learn")]
)
def test_what_is_missing_is_said_with_what_to_install(library, words, side, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=words):
        plot_map(side, method="tsne")
