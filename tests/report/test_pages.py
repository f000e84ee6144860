import base64
import itertools
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from foveola.answers import LabelShare, Share, Suggestion
from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.records import Case
from foveola.report import demo_page, evaluation_page, search_page
from foveola.report.pages import HEIGHT, WIDTH, chart
from foveola.trust import Looks, QueryTrust

JPEG = b"\xff\xd8\xff\xe0 not a whole picture, but it starts like one"


def a_case(image="a.jpg", **known):
    return Case(image=image, path=f"/{image}", **known)


def a_search(query=None, cases=(), **known):
    hits = [SimpleNamespace(rank=i + 1, similarity=0.9 - 0.2 * i, case=c, trust=None) for i, c in enumerate(cases)]
    plain = {
        "excluded_same_subject": 0,
        "considered": 100,
        "where": None,
        "encoder": "enc",
        "gradability": 1.0,
        "trust": None,
        "order": "looks",
        "label": None,
        "recorded": None,
    }
    return SimpleNamespace(query=query or a_case("q.jpg"), hits=hits, **(plain | known))


VOID = {"meta", "input", "img", "br", "link", "hr"}
SHAPES = {"circle", "path", "line", "rect"}  # written as <circle .../>


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails when tags do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in {"style", "title"}:
            self.text += f"{data} "

    def words(self):
        return " ".join(self.text.split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(search, images=lambda case: JPEG, **more):
    return Page(search_page(search, images=images, **more))


def test_hits_come_in_order_with_what_is_known_of_them():
    cases = [
        a_case("one.jpg", subject="s-7", eye="left", visit=0, grade=2, findings=frozenset("DH")),
        a_case("two.jpg", subject="s-8", eye="right", visit=12.0, grade=4),
        a_case("three.jpg", visit="2024-05-17", findings=frozenset()),
    ]
    words = page_of(a_search(a_case("q.jpg", subject="s-1", grade=2), cases)).words()
    first, second, third = (words.index(name) for name in ("one.jpg", "two.jpg", "three.jpg"))
    assert first < second < third
    one, two, three = words[:first], words[first:second], words[second:third]
    for found in ("1 0.900", "2 moderate NPDR", "same grade", "diabetes", "hypertension", "Subject s-7"):
        assert found in one
    assert "Visit first visit" in one
    for found in ("2 0.700", "4 PDR", "findings not recorded", "Eye right", "Visit month 12"):
        assert found in two
    assert "same grade" not in two
    for found in ("3 0.500", "unlabelled", "no findings", "Subject not recorded", "2024-05-17"):
        assert found in three


def test_two_unlabelled_images_do_not_share_a_grade():
    assert "same grade" not in page_of(a_search(a_case("q.jpg"), [a_case()])).words()


def test_the_search_says_what_was_compared_and_what_was_left_out():
    search = a_search(
        a_case("q.jpg", subject="s-1"), [a_case()], considered=4268, excluded_same_subject=3, where="eye = 'left'"
    )
    words = page_of(search, encoder_card={"name": "fovea-1", "fingerprint": "0123456789abcdef"}).words()
    for found in (
        "4,268 cases",
        "Same person 3 left out, with what is so alike that it may be",
        "eye = 'left'",
        "fovea-1 0123456789ab ",
    ):
        assert found in words
    plain = page_of(a_search(None, [a_case()], considered=1)).words()
    for found in ("1 case ", "Same person not known whose photograph this is", "Filter none", "Encoder enc"):
        assert found in plain


def test_a_bare_fingerprint_is_cut_short():
    words = page_of(a_search(None, [a_case()], encoder="sha256:" + "ab" * 32)).words()
    assert "Encoder abababababab " in words
    assert "ab" * 7 not in words


def suggested(*values, label="grade", sufficient=True, looks=None):
    """The trust in an answer, of values with how many of 100 have each, and its interval."""
    shares = tuple(LabelShare(value, Share(*(x / 100 for x in n))) for value, *n in values)
    several = label == "findings"
    return QueryTrust(
        suggestion=Suggestion(label, shares, several, 300, True) if shares else None,
        nearest=0.5,
        threshold=0.3,
        false_reject=0.01,
        sufficient=sufficient,
        looks=looks or Looks(0.5, foreign=False),
    )


def learned(trust, grades=(2, 3), **more):
    cases = [a_case(f"{i}", grade=g) for i, g in enumerate(grades)]
    return a_search(None, cases, trust=trust, order="learned", label="grade", recorded=1, **more)


def test_what_the_archive_suggests_comes_first_with_its_drawing():
    trust = suggested(("3", 48, 40, 57), ("2", 41, 33, 50), ("0", 11, 6, 19))
    page = page_of(learned(trust))
    words = page.words()
    headline = (
        "Of 100 photographs like this, 48 (40 to 57) have severe NPDR, 41 (33 to 50) have moderate "
        "NPDR, 11 (6 to 19) have no DR."
    )
    even = "Two grades are nearly equally likely; the first hits show both."
    assert words.index(headline) < words.index(even) < words.index("The nearest case")
    rows = ["0 no DR 11 (6 to 19)", "2 moderate NPDR 41 (33 to 50)", "3 severe NPDR 48 (40 to 57)"]
    assert " ".join(rows) in words  # grades in their own order, each with its interval
    drawn = [tag["width"] for tag in page.all("rect") if tag.get("class") == "share"]
    assert drawn == ["11.0", "41.0", "48.0"]
    ends = [tag["d"] for tag in page.all("path") if tag.get("class") == "range"]
    assert [end.split("M")[1] for end in ends] == ["6.0 6H19.0", "33.0 6H50.0", "40.0 6H57.0"]
    assert "Order by the archive's labels (grade), looks second; grade is recorded for 1" in words


def test_of_findings_the_likely_ones_are_drawn_most_first():
    trust = suggested(("G", 30, 20, 41), ("D", 5, 2, 9), ("A", 4, 1, 9), label="findings")
    words = page_of(learned(trust)).words()
    assert "glaucoma 30 (20 to 41) diabetes 5 (2 to 9)" in words
    assert "AMD" not in words


def test_a_hit_without_the_label_is_marked():
    words = page_of(learned(suggested(("2", 90, 80, 95)), grades=(2, None))).words()
    assert words.count("grade not recorded") == 1
    assert words.index("grade not recorded") > words.index("2 0.700")


def test_a_refused_picture_gets_no_share_of_anything():
    trust = suggested(sufficient=False, looks=Looks(1.0, foreign=True))
    page = page_of(learned(trust))
    assert "does not look like a colour photograph" in page.words()
    assert "%" not in page.words()
    assert "of 100" not in page.words().lower()
    assert not page.all("rect")


@pytest.mark.parametrize(("similarity", "width"), [(0.5, 50.0), (-0.3, 0.0), (1.0000001, 100.0)])
def test_the_similarity_bar_stays_inside(similarity, width):
    search = a_search(None, [a_case()])
    search.hits[0].similarity = similarity
    page = page_of(search)
    assert {"style": f"width:{width}%"} in page.all("span")
    assert f"{similarity:.3f}" in page.words()


def test_pictures_are_part_of_the_file():
    png = b"\x89PNG\r\n\x1a\n and so on"
    images = {"q.jpg": JPEG, "a.jpg": png}
    page = page_of(a_search(None, [a_case()]), lambda case: images[case.image])
    sources = [tag["src"] for tag in page.all("img")]
    assert sources == [
        "data:image/jpeg;base64," + base64.b64encode(JPEG).decode(),
        "data:image/png;base64," + base64.b64encode(png).decode(),
    ]


@pytest.mark.parametrize("nothing", [None, b"", b"<svg onload='alert(1)'/>"])
def test_a_picture_that_cannot_be_shown_is_said_to_be_missing(nothing):
    page = page_of(a_search(None, [a_case()]), lambda case: nothing)
    assert page.all("img") == []
    assert page.words().count("image not available") == 2


def test_every_picture_has_a_text_in_its_place():
    page = page_of(a_search(None, [a_case(eye="left", grade=1), a_case("b.jpg", extra={"phantom": 1})]))
    assert [tag["alt"] for tag in page.all("img")] == [
        "Query: fundus photograph, eye not recorded, no grade",
        "Hit 1: fundus photograph, left eye, grade 1, mild NPDR",
        "Hit 2: phantom, eye not recorded, no grade",
    ]


EVIL = '<script>alert("x")</script>'


def test_nothing_of_a_manifest_becomes_markup(evaluation):
    case = a_case(EVIL, subject=EVIL, visit=EVIL, findings=frozenset({EVIL}), extra={"age": EVIL, "sex": EVIL})
    search = a_search(case, [case], where=EVIL, encoder=EVIL)
    card = {EVIL: EVIL, "name": EVIL, "fingerprint": EVIL}
    for text in (
        search_page(search, images=lambda c: JPEG, title=EVIL, encoder_card=card),
        demo_page([search], evaluation, images=lambda c: JPEG, title=EVIL, encoder_card=card),
    ):
        assert "<script" not in text
        assert Page(text).words().count(EVIL) >= 10
    side = RetrievalData(np.eye(4), np.array([0, 0, 1, 1]), "abcd", (EVIL, "b"), label=EVIL)
    text = evaluation_page(evaluate_retrieval(side, bootstrap=10), title=EVIL)
    assert "<script" not in text
    assert EVIL in Page(text).words()


def test_pages_ask_nothing_of_a_network_and_run_nothing(evaluation):
    text = demo_page([a_search(None, [a_case()])], evaluation, images=lambda c: JPEG)
    page = Page(text)
    assert {name for name, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    policy = next(t["content"] for t in page.all("meta") if "http-equiv" in t)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_every_page_says_that_it_states_no_diagnosis(evaluation):
    search = a_search(None, [a_case()])
    for text in (
        search_page(search, images=lambda c: None),
        evaluation_page(evaluation),
        demo_page([search], evaluation, images=lambda c: None),
    ):
        assert "Foveola shows similar cases; it does not state a diagnosis." in Page(text).words()


@pytest.mark.parametrize("mark", [1, "1", "true", 1.0])
def test_phantoms_are_called_phantoms(mark):
    phantom = a_case(extra={"phantom": mark})
    assert "Phantom images, not patients." in page_of(a_search(phantom, [phantom])).words()
    mixed = page_of(a_search(a_case(), [phantom])).words()
    assert "Some of these are phantom images, not patients." in mixed


@pytest.mark.parametrize("mark", [0, "0", "", "false", 0.0])
def test_patients_are_not_called_phantoms(mark):
    case = a_case(extra={"phantom": mark})
    assert "hantom" not in page_of(a_search(case, [case])).words()


def test_an_evaluation_on_phantoms_says_so(evaluation):
    assert "Phantom images" in Page(evaluation_page(evaluation, phantom=True)).words()
    assert "hantom" not in Page(evaluation_page(evaluation)).words()


def test_a_search_without_hits_says_why():
    none_left = page_of(a_search(None, [], considered=0)).words()
    assert "none is left after the filter and the exclusion of the same subject" in none_left
    assert "the search returned no hits" in page_of(a_search(None, [], considered=5)).words()


def test_the_evaluation_has_values_intervals_and_chance(evaluation):
    words = Page(evaluation_page(evaluation)).words()
    for name, m in evaluation.metrics.items():
        low, high = m.interval()
        micro = f"{name} {m.value.micro:.3f} {low:.3f} to {high:.3f} {m.chance.micro:.3f}"
        assert f"{micro} {m.value.macro:.3f} {m.low.macro:.3f} to {m.high.macro:.3f}" in words
        first = f"{name} {m.value.per_label['0']:.3f} ({m.chance.per_label['0']:.3f})"
        assert first in words
    assert "60 queries against 60 images by grade" in words
    assert "100 resamples of the subjects" in words


def test_the_demonstration_numbers_its_searches_and_ends_with_the_evaluation(evaluation):
    searches = [a_search(a_case(f"q{i}.jpg"), [a_case()]) for i in range(3)]
    words = Page(demo_page(searches, evaluation, images=lambda c: JPEG)).words()
    places = [words.index(w) for w in ("Search 1 of 3", "q0.jpg", "Search 2 of 3", "q2.jpg", "How good the")]
    assert places == sorted(places)
    alone = Page(demo_page(searches, images=lambda c: JPEG)).words()
    assert "How good the" not in alone


def test_the_card_of_the_encoder_is_shown_without_its_tables(evaluation):
    card = {"trained_on": "many eyes", "dimension": 256, "scores": {"a": 1}, "note": ""}
    words = Page(evaluation_page(evaluation, encoder_card=card)).words()
    assert "About the encoder trained on many eyes dimension 256" in words
    assert "scores" not in words
    assert "About the encoder" not in Page(evaluation_page(evaluation)).words()


def test_each_picture_is_asked_for_once():
    asked = []
    page_of(a_search(None, [a_case("1"), a_case("2")]), lambda case: asked.append(case.image))
    assert asked == ["q.jpg", "1", "2"]


def heights(drawn, bar):
    """Value, chance and interval of a bar, read back from the drawing."""
    (bottom, _), (top, highest) = drawn.ticks[0], drawn.ticks[-1]
    ends = (bar.top, bar.chance, bar.low, bar.high)
    return [None if y is None else (bottom - y) / (bottom - top) * float(highest) for y in ends]


@pytest.mark.parametrize("metric", ["mHR@5", "mAP@10", "mAP@R"])
def test_bars_stand_where_the_numbers_are(evaluation, metric):
    drawn, found = chart(evaluation, metric), evaluation.metrics[metric]
    assert [bar.name for bar in drawn.bars] == list(found.queries)
    for bar in drawn.bars:
        value, chance, low, high = heights(drawn, bar)
        assert value == pytest.approx(found.value.per_label[bar.name], abs=1e-4)
        assert chance == pytest.approx(found.chance.per_label[bar.name], abs=1e-4)
        if bar.name == "4":  # one person's images: there is no interval
            assert low is high is None
        else:
            assert (low, high) == pytest.approx(found.interval(bar.name), abs=1e-4)
        assert bar.top + bar.height == pytest.approx(drawn.floor)
        assert 0 < bar.x < bar.x + bar.width < WIDTH
        assert 0 < bar.top <= HEIGHT


def test_bars_do_not_overlap(evaluation):
    bars = chart(evaluation).bars
    assert all(a.x + a.width < b.x for a, b in itertools.pairwise(bars))


def test_grades_are_named_and_counted(evaluation):
    bars = chart(evaluation).bars
    assert [(b.word, b.queries) for b in bars] == [("no DR", 29), ("mild NPDR", 29), ("PDR", 2)]


def test_the_headline_is_map_at_10_or_the_deepest(evaluation):
    assert chart(evaluation).metric == "mAP@10"
    side = RetrievalData(np.eye(4), np.array([0, 0, 1, 1]), "abcd")
    assert chart(evaluate_retrieval(side, ks=(3, 2), bootstrap=0)).metric == "mAP@3"


def test_small_values_get_a_larger_scale(evaluation):
    side = RetrievalData(np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) % 30, list(range(90)))
    low = evaluate_retrieval(side, bootstrap=10)
    drawn = chart(low)
    assert float(drawn.ticks[-1][1]) < 1
    for bar in drawn.bars:
        assert heights(drawn, bar)[0] == pytest.approx(low.metrics["mAP@10"].value.per_label[bar.name], abs=1e-4)
    assert chart(evaluation, "mHR@5").ticks[-1][1] == "1"


def test_an_unknown_metric_is_refused(evaluation):
    with pytest.raises(ValueError, match="no metric 'mAP@3'; there are mHR@1"):
        chart(evaluation, "mAP@3")


def test_the_drawing_is_in_the_page_without_a_gap(evaluation):
    text = evaluation_page(evaluation)
    assert len(re.findall('<rect class="value"', text)) == 3
    assert len(re.findall('<line class="chance"', text)) == 3
    assert len(re.findall('class="whisker"', text)) == 2
    assert "None" not in text
    assert "nan" not in text


@pytest.mark.parametrize("labels", [9, 10, 27])
def test_many_names_are_slanted_and_stay_in_the_drawing(labels):
    many = np.random.default_rng(0).normal(size=(4 * labels, 3))
    names = tuple(f"{i:02d} a finding with a long name" for i in range(labels))
    side = RetrievalData(many, np.arange(4 * labels) % labels, list(range(4 * labels)), label_names=names)
    found = evaluate_retrieval(side, bootstrap=0)
    drawn, text = chart(found), evaluation_page(found)
    slanted = re.findall(r'translate\(([\d.]+) ([\d.]+)\) rotate\(-50\)"><title>([^<]*)', text)
    assert [name for *_, name in slanted] == (list(names) if labels > 9 else [])
    assert all(len(bar.short) == 18 for bar in drawn.bars)
    # 18 letters of 12 px, half as wide as high, at 50 degrees
    lowest = max((float(y) + 18 * 6 * np.sin(np.radians(50)) for _, y, _ in slanted), default=0)
    assert lowest <= drawn.height
    assert drawn.height == (HEIGHT if labels == 9 else HEIGHT + 60)
    assert f'viewBox="0 0 {WIDTH} {drawn.height}"' in text
