"""The page of people: what it says of each eye, and what it leaves unsaid."""

import html
import re
from dataclasses import replace

from foveola.people_search import EyePair, PersonHit, PersonResult
from foveola.records import Case
from foveola.report import people_page

JPEG = b"\xff\xd8\xff\xe0 not a whole picture, but it starts like one"


def eye(name, **known):
    return Case(image=name, path=f"/{name}", **known)


def hit(rank, pairs, **cases):
    grades = [case.grade for case in cases.values() if case.grade is not None]
    return PersonHit(
        rank=rank,
        similarity=0.8,
        pairs=tuple(EyePair(*pair) for pair in pairs),
        cases=cases,
        ids=dict.fromkeys(cases, 1),
        grade=max(grades, default=None),
        findings=frozenset("DG"),
    )


def result(query, *hits):
    return PersonResult(
        query=query,
        in_archive=(),
        hits=hits,
        excluded_same_subject=2,
        considered=1234,
        unassigned=5,
        where="grade >= 2",
        encoder="enc",
        fingerprint="f" * 32,
        milliseconds=1.0,
        gradability=dict.fromkeys(query, 1.0),
    )


def words(page):
    plain = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))
    return " ".join(plain.split())


def test_each_eye_says_which_eye_of_the_query_it_is_like():
    query = {"left": eye("ql.jpg", grade=2), "right": eye("qr.jpg")}
    crossed = [("left", "right", 0.9), ("right", "left", 0.7)]
    alone = [("left", "left", 0.85), ("right", "left", 0.75)]
    said = words(
        people_page(
            result(
                query,
                hit(1, crossed, left=eye("al", grade=1), right=eye("ar", grade=2, subject="s7")),
                hit(2, alone, left=eye("bl.jpg")),
            ),
            images=lambda case: JPEG,
        )
    )
    first, second = said.index("0.900 to"), said.index("0.850 to")
    assert "Right eye 0.900 to the query's left ar Left eye 0.700 to the query's right al" in said
    assert "2 moderate NPDR same grade left and right exchanged" in said
    assert "no photograph Right eye Left eye 0.850 to the query's left, 0.750 to the" in said
    assert "diabetes glaucoma" in said
    assert first < second
    assert "1,234 people, each at one visit" in said
    assert "Same person not known whose photograph this is; 2 left out, so alike" in said
    assert "5 photographs without subject or eye" in said
    assert "The right eye is shown on the left" in said


def test_a_query_of_one_eye_says_so_and_what_a_manifest_says_is_escaped():
    query = {"right": eye("<b>q</b>", subject="<script>")}
    page = people_page(result(query), images=lambda case: None)
    assert "Judged by the right eye alone." in page
    assert "Nobody was found" in page
    assert "<script>" not in page
    assert "<b>q</b>" not in page


def test_a_photograph_of_doubtful_quality_is_said_below_it():
    query = {"left": eye("ql.jpg"), "right": eye("qr.jpg")}
    doubt = "may be too dark, blurred or hazy to be graded"
    doubtful = replace(result(query), doubts={"left": doubt})
    page = words(people_page(doubtful, images=lambda _: JPEG))
    assert "Left eye may be too dark, blurred or hazy to be graded" in page
    assert "Right eye may be" not in page
