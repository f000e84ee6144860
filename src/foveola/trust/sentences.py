"""Trust in words, the same on a page, in a terminal, in a report and over REST."""

from collections.abc import Iterable, Sequence

from foveola.answers import HitTrust, Looks, Order, QueryTrust, Share, Suggestion
from foveola.images.gradability import warning
from foveola.labels import label_word
from foveola.people import NORMAL
from foveola.records import Case
from foveola.relevance.labels import FINDINGS, GRADE
from foveola.relevance.order import EVEN
from foveola.trust.calibration import label_values
from foveola.trust.familiarity import UNUSUAL

LEAST = 5  # of 100 photographs, below which a label value is not named
LIKE = "Of 100 photographs like this"
_MANY = {2: ("Two", "both"), 3: ("Three", "all three")}
KNOWN = 0.05  # share of an archive that the encoder was trained on, from which it is said
FAR = "not sufficiently alike"
_ONE = {GRADE: "grade", FINDINGS: "finding"}
NAMED = 5  # values left out that are named
NONE = "No sufficiently similar case"
UNLIKE = "is unlike the photographs that the encoder knows: another camera, a rare disease, or no fundus photograph"


def percent(share: Share) -> str:
    """Return a share and its interval: 82 % (74 to 88)."""
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def of_hit(trust: HitTrust | None) -> str | None:
    """Say beside a hit how far to trust it; None where nothing is known."""
    if trust is None:
        return None
    if not trust.sufficient:
        return FAR
    if trust.agreement is None:
        return None
    return f"same {trust.label} in {percent(trust.agreement)}"


def of_query(trust: QueryTrust | None, cases: Sequence[Case] = ()) -> list[str]:
    """Say what must be known of the whole answer, the most important first.

    Args:
        trust: of the answer.
        cases: its hits, by which it is told whether they show every likely grade.
    """
    if trust is None:
        return []
    return [*of_suggestion(trust.suggestion, cases), *of_picture(trust)]


def of_picture(trust: QueryTrust | None) -> list[str]:
    """Say the same without what the archive suggests: of the picture and its nearest case."""
    if trust is None:
        return []
    return [*_picture(trust), *_nearest(trust), *_camera(trust), *_trained(trust)]


def of_doubt(looks: Looks | None, gradability: float) -> str | None:
    """Say what is to be known of a photograph that is answered, to follow its name.

    None where all is well, or worse is said already. The same for searches, readings and people.
    """
    if looks is not None and looks.foreign:
        return None
    if looks is not None and looks.unlike is not None and looks.unlike >= UNUSUAL:
        return UNLIKE
    return warning(gradability)


def of_quality(looks: Looks | None, gradability: float) -> str | None:
    """Say the same as a sentence, of the one photograph that was asked about."""
    doubt = of_doubt(looks, gradability)
    return None if doubt is None else f"The photograph {doubt}."


def of_person(known: bool, left_out: int | None) -> str:
    """Say what was left out of the query's own person.

    Args:
        known: whether it is known whose photograph the query is.
        left_out: how many cases were; None where that is not for whoever asks.
    """
    if left_out is None:
        return "what is of the same person, or so alike that it may be, is left out"
    if known:
        return f"{left_out:,} left out, with what is so alike that it may be" if left_out else "none left out"
    unknown = "not known whose photograph this is"
    return f"{unknown}; {left_out:,} left out, so alike that they may be of one person" if left_out else unknown


def of_order(order: Order, label: str | None) -> str:
    """Say how the hits are ordered: "by the archive's labels (grade), looks second"."""
    if order == "learned":
        return f"by the archive's labels ({label}), looks second"
    return f"by labels ({label}) and looks in equal parts" if order == "both" else "by looks"


def of_recorded(label: str | None, recorded: int | None, hits: int) -> str | None:
    """Say of how many hits the label is recorded; None where there is none to be recorded."""
    if label is None or recorded is None or not hits:
        return None
    verb = "are" if label == FINDINGS else "is"
    return f"{label} {verb} recorded for {recorded} of {hits} hits"


def unrecorded(case: Case, label: str | None) -> bool:
    """Return whether a hit stands where it does without a label of its own."""
    return label is not None and label_values(case, label) is None


def of_refused(looks: Looks) -> str:
    """Say why nothing can be said of a picture that is not comparable, to follow its name."""
    if looks.foreign:
        return "does not look like a colour photograph of the retina"
    return "shows too little of the retina"


def _picture(trust: QueryTrust) -> list[str]:
    return [] if trust.looks.comparable else [f"{NONE}: this {of_refused(trust.looks)}."]


def _nearest(trust: QueryTrust) -> list[str]:
    if not trust.looks.comparable or trust.threshold is None or trust.nearest is None:
        return []
    if trust.sufficient:
        return [
            f"The nearest case is more alike than that of {100 * trust.nearest:.0f} % of the archive's own photographs."
        ]
    among = "" if trust.suggestion is None else " among those that meet the condition"
    return [
        f"{NONE}{among}: no hit is as alike as the nearest case of "
        f"{100 * (1 - trust.false_reject):.0f} % of the archive's own photographs "
        f"({trust.threshold:.3f})."
    ]


def _camera(trust: QueryTrust) -> list[str]:
    camera = trust.looks.camera
    if camera is None:
        return []
    return [f"The archive has no photograph of this camera ({camera}): how far to trust a hit was learnt from others."]


def _trained(trust: QueryTrust) -> list[str]:
    if trust.suggestion is not None:  # which hits are judged by, and which says it of itself
        return []
    if trust.trained is None or trust.trained < KNOWN or not trust.looks.comparable:
        return []
    return [
        f"The encoder was trained on {100 * trust.trained:.0f} % of the archive's photographs, and "
        "how far to trust a hit was learnt from these: a new photograph's labels agree less often "
        "than is said."
    ]


def of_suggestion(suggestion: Suggestion | None, cases: Sequence[Case] = ()) -> list[str]:
    """Say what the archive suggests; the values that fewer than LEAST of 100 have are left out.

    Args:
        suggestion: of the answer.
        cases: its hits, as for `of_query`.
    """
    if suggestion is None:
        return []
    told = [
        f"{of_hundred(each.share)} {_has(suggestion.label, each.value)}"
        for each in suggestion.shares
        if round(100 * each.share.value) >= LEAST
    ]
    said = [
        f"{LIKE}, {', '.join(told)}."
        if told
        else f"{LIKE}, fewer than {LEAST} have any one of the {_plural(suggestion.label)} learnt."
    ]
    said += filter(None, [_evenly(suggestion, cases), _absent(suggestion, cases), _unlearnt(suggestion)])
    if not suggestion.new:
        said.append(
            "These numbers were learnt from photographs that the encoder was trained on: a new "
            "photograph is told less surely than they say."
        )
    return said


def of_hundred(share: Share) -> str:
    """Return a share and its interval as counts: 55 (46 to 63).

    >>> of_hundred(Share(0.55, 0.46, 0.63))
    '55 (46 to 63)'
    """
    return f"{100 * share.value:.0f} ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _has(label: str, value: str) -> str:
    """As "have moderate NPDR", "are normal" or "have outcome healed"."""
    if label == FINDINGS and value == NORMAL:
        return "are normal"
    word = label_word(label, value)
    if label == FINDINGS and word == "other":
        return "have another finding"
    return f"have {word}" if label == FINDINGS or word != value else f"have {label} {value}"


def _evenly(suggestion: Suggestion, cases: Iterable[Case]) -> str | None:
    """Say that several values are nearly equally likely, and whether the hits show them all."""
    if suggestion.several or not suggestion.shares:
        return None
    least = EVEN * suggestion.shares[0].share.value
    even = {each.value for each in suggestion.shares if each.share.value >= least}
    if len(even) < 2:
        return None
    shown = {value for case in cases for value in label_values(case, suggestion.label) or frozenset()}
    many, both = _MANY.get(len(even), ("Several", "all of them"))
    said = f"{many} {_plural(suggestion.label)} are nearly equally likely"
    return f"{said}; the first hits show {both}." if even <= shown else f"{said}."


def _absent(suggestion: Suggestion, cases: Iterable[Case]) -> str | None:
    """Say that no hit has the value that the suggestion names first, and why that can be."""
    hits = [label_values(case, suggestion.label) for case in cases]
    if not hits or any(suggestion.shares[0].value in (values or ()) for values in hits):
        return None
    return (
        f"No hit has the {_ONE.get(suggestion.label, 'value')} named first. Hits by labels are "
        "ordered as if all were equally common, so that rare ones are found, too."
    )


def _unlearnt(suggestion: Suggestion) -> str | None:
    """Say which values the numbers leave out."""
    names = [label_word(suggestion.label, value) for value in suggestion.unlearnt]
    if not names:
        return None
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"Not counted, as too few people have it: {', '.join(names[:NAMED])}{more}."


def _plural(label: str) -> str:
    return {GRADE: "grades", FINDINGS: "findings"}.get(label, f"values of {label}")
