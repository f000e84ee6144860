"""The page of a reading: what is said, of whom, and that it is no diagnosis."""

import html
import re
from types import SimpleNamespace

from foveola.report import among, reading_page

JPEG = b"\xff\xd8\xff\xe0 not a whole picture, but it starts like one"
SAID = SimpleNamespace(
    labels=("N", "D"),
    probabilities=(0.4, 0.306),
    eyes={"left": SimpleNamespace(probabilities=(0.9, 0.1))},
    thresholds=(0.5, 0.25),
    found=("D",),
    warnings=("look <closely>",),
    reader="made-reader",
    fingerprint="f" * 32,
    refused={},
)


def words(page):
    plain = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))
    return " ".join(plain.split())


def page_of(**changed):
    given = {"reading": SAID, "pictures": {"left": JPEG}, "evidence": {"D": {"left": JPEG}}} | changed
    return reading_page(**given)


def test_each_finding_has_its_probabilities_and_threshold():
    page = page_of()
    assert "normal N 40.0 %" in words(page)
    assert "diabetes D 30.6 %" in words(page)
    assert 'style="width:30.6%"' in page
    assert 'style="left:25.0%"' in page
    assert page.count('class="found"') == 1
    assert "10 %" in words(page)


def test_warnings_stand_on_top_and_are_escaped():
    page = page_of()
    assert "look &lt;closely&gt;" in page
    assert words(page).index("look <closely>") < words(page).index("How probable")
    assert "no diagnosis" in words(page)


def test_a_missing_eye_is_said_to_be_missing():
    page = page_of()
    assert "both eyes together" not in words(page)
    assert page.count("right eye: no photograph") == 2  # given, and evidence
    assert "left eye, where it speaks for diabetes" in page


def test_an_eye_that_was_refused_says_why():
    why = "shows too little of the retina"
    page = page_of(reading=SimpleNamespace(**vars(SAID) | {"refused": {"right": why}}))
    assert f"Right eye {why}" in words(page)
    assert page.count("right eye: no photograph") == 1  # as evidence
    assert words(page).count("left out") == 1


def test_findings_of_similar_people_are_counted():
    hits = [SimpleNamespace(findings=found) for found in (frozenset("D"), frozenset("DG"), None, frozenset())]
    said = among(SimpleNamespace(hits=hits))
    assert said == "Of the 3 whose findings are known: diabetes 2, glaucoma 1."
    assert among(SimpleNamespace(hits=[SimpleNamespace(findings=None)])) == ""
