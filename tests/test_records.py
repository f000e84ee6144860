"""Who counts as the same person."""

from dataclasses import FrozenInstanceError
from itertools import combinations

import pytest

from foveola.records import Case


def case(image="a.png", **known):
    return Case(image=image, path=f"/archive/{image}", **known)


def test_two_photographs_of_one_subject_share_an_identity():
    assert case("a.png", subject="7", eye="left").identity == case("b.png", subject="7").identity


@pytest.mark.parametrize(
    ("a", "b"),
    list(
        combinations(
            [
                case("a.png", subject="1"),
                case("a.png", subject="2"),
                case("a.png", subject="1", collection="odir"),
                case("a.png", subject="1", collection="idrid"),
                case("a.png"),
                case("b.png"),
                # a subject that is named like a path, and a name that holds its collection's
                case("c.png", subject="/archive/a.png"),
                case("c.png", subject="odir1"),
                case("c.png", subject="dir1", collection="o"),
            ],
            2,
        )
    ),
)
def test_everybody_else_is_another(a, b):
    assert a.identity != b.identity


def test_a_photograph_of_an_unknown_subject_is_the_same_as_itself():
    assert case("a.png").identity == case("a.png", grade=2).identity


@pytest.mark.parametrize("nothing", ["", "  ", "\u00a0", "\u200b"])
def test_a_subject_of_nothing_is_unknown(nothing):
    first, second = (case(image, subject=nothing) for image in ("a.png", "b.png"))
    assert first.subject is None
    assert first.identity != second.identity


def test_nothing_is_known_of_a_bare_case():
    bare = case()
    known = (bare.subject, bare.eye, bare.visit, bare.grade, bare.findings)
    assert known == (None, None, None, None, None)
    assert bare.extra == {}


def test_a_case_can_not_be_changed():
    with pytest.raises(FrozenInstanceError):
        case().grade = 3


def test_cases_do_not_share_their_further_columns():
    assert case().extra is not case().extra
