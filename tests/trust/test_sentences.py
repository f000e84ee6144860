"""Trust in words, each sentence by hand."""

from dataclasses import replace

from foveola.trust.curve import Share
from foveola.trust.judged import HitTrust, Looks, QueryTrust
from foveola.trust.sentences import of_hit, of_query

HIT = HitTrust(
    label="grade", same=0.9, other=0.99, agreement=Share(0.824, 0.744, 0.885), sufficient=True
)
QUERY = QueryTrust(
    label="grade", nearest=0.63, threshold=0.94, false_reject=0.01, sufficient=True,
    commonest="2", neighbours=10, local=Share(0.8, 0.49, 0.943), looks=Looks(0.5, foreign=False),
)  # fmt: skip


def test_a_hit():
    assert of_hit(HIT) == "same grade in 82 % (74 to 88)"
    assert of_hit(replace(HIT, sufficient=False)) == "not sufficiently alike"
    assert of_hit(replace(HIT, agreement=None)) is None
    assert of_hit(None) is None


def test_an_answer():
    assert of_query(QUERY) == [
        "The nearest case is more alike than that of 63 % of the archive's own photographs.",
        "8 of 10 people among the hits: moderate NPDR, 80 % (49 to 94).",
    ]
    assert of_query(None) == []


def test_an_answer_from_afar_says_so_first():
    first, *_ = of_query(replace(QUERY, sufficient=False, nearest=0.0))
    assert first == (
        "No sufficiently similar case: no hit is as alike as the nearest case of 99 % of the "
        "archive's own photographs (0.940)."
    )


def test_findings_are_named():
    said = of_query(replace(QUERY, label="findings", commonest="D;H"))
    assert said[1] == "8 of 10 people among the hits: diabetes, hypertension, 80 % (49 to 94)."
    said = of_query(replace(QUERY, label="findings", commonest=""))
    assert "no findings" in said[1]


def test_of_one_neighbour_nothing_is_counted():
    assert len(of_query(replace(QUERY, neighbours=1, local=Share(1, 0.2, 1)))) == 1


def test_a_foreign_picture_is_named_first_and_nothing_is_near():
    said = of_query(replace(QUERY, sufficient=False, looks=Looks(1.0, foreign=True)))
    assert said[0] == (
        "No sufficiently similar case: this does not look like a colour photograph of the retina."
    )
    assert not any("archive's own" in line for line in said)


def test_a_poor_picture_is_not_compared():
    said = of_query(replace(QUERY, sufficient=False, looks=Looks(0.5, foreign=False, poor=True)))
    assert said[0] == (
        "No sufficiently similar case: too little of the retina can be seen to compare it."
    )


def test_an_unusual_picture_is_a_warning():
    said = of_query(replace(QUERY, looks=Looks(0.995, foreign=False)))
    assert said[0].startswith("Unlike the photographs that the encoder knows")
    assert len(said) == 3


def test_a_camera_that_the_archive_does_not_know_is_named():
    said = of_query(replace(QUERY, looks=Looks(0.5, foreign=False, camera="Topcon TRC-NW8")))
    (line,) = [line for line in said if line not in of_query(QUERY)]
    assert "no photograph of this camera (Topcon TRC-NW8)" in line


def test_of_an_archive_too_small_to_judge_nothing_is_said():
    bare = replace(QUERY, label=None, nearest=None, threshold=None, neighbours=0, local=None)
    assert of_query(bare) == []


def test_an_archive_that_the_encoder_was_trained_on_says_so():
    said = of_query(replace(QUERY, trained=0.834))
    assert said[1] == (
        "The encoder was trained on 83 % of the archive's photographs, and how far to trust a hit "
        "was learnt from these: a new photograph's labels agree less often than is said."
    )
    assert of_query(replace(QUERY, trained=0.04)) == of_query(QUERY)
    foreign = replace(QUERY, sufficient=False, looks=Looks(1.0, foreign=True))
    assert of_query(replace(foreign, trained=0.9)) == of_query(foreign)
