"""Trust in words, the same on a page, in a terminal and over REST."""

from foveola.relevance.curve import Share
from foveola.relevance.suggestion import Suggestion
from foveola.trust.familiarity import UNUSUAL
from foveola.trust.judged import HitTrust, QueryTrust
from foveola.words import label_word

LEAST = 5  # of 100 photographs, below which a label value is not named
KNOWN = 0.05  # share of an archive that the encoder was trained on, from which it is said
FAR = "not sufficiently alike"
NONE = "No sufficiently similar case"


def percent(share: Share) -> str:
    """A share and its interval: 82 % (74 to 88)."""
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def of_hit(trust: HitTrust | None) -> str | None:
    """What a page says beside a hit; None where nothing is known."""
    if trust is None:
        return None
    if not trust.sufficient:
        return FAR
    if trust.agreement is None:
        return None
    return f"same {trust.label} in {percent(trust.agreement)}"


def of_query(trust: QueryTrust | None) -> list[str]:
    """Sentences on the whole answer, the most important first."""
    if trust is None:
        return []
    return [
        *_picture(trust), *_suggestion(trust.suggestion), *_nearest(trust), *_camera(trust),
        *_trained(trust),
    ]  # fmt: skip


def _picture(trust: QueryTrust) -> list[str]:
    looks = trust.looks
    if looks.foreign:
        return [f"{NONE}: this does not look like a colour photograph of the retina."]
    if looks.poor:
        return [f"{NONE}: too little of the retina can be seen to compare it."]
    if looks.unlike is not None and looks.unlike >= UNUSUAL:
        return [
            "Unlike the photographs that the encoder knows: another camera, a rare disease, or "
            "no fundus photograph."
        ]
    return []


def _nearest(trust: QueryTrust) -> list[str]:
    if trust.looks.foreign or trust.looks.poor or trust.threshold is None or trust.nearest is None:
        return []
    if trust.sufficient:
        return [
            f"The nearest case is more alike than that of {100 * trust.nearest:.0f} % of the "
            "archive's own photographs."
        ]
    return [
        f"{NONE}: no hit is as alike as the nearest case of "
        f"{100 * (1 - trust.false_reject):.0f} % of the archive's own photographs "
        f"({trust.threshold:.3f})."
    ]


def _camera(trust: QueryTrust) -> list[str]:
    camera = trust.looks.camera
    if camera is None:
        return []
    return [
        f"The archive has no photograph of this camera ({camera}): how far to trust a hit was "
        "learnt from others."
    ]


def _trained(trust: QueryTrust) -> list[str]:
    if trust.trained is None or trust.trained < KNOWN or trust.looks.foreign or trust.looks.poor:
        return []
    return [
        f"The encoder was trained on {100 * trust.trained:.0f} % of the archive's photographs, and "
        "how far to trust a hit was learnt from these: a new photograph's labels agree less often "
        "than is said."
    ]


def _suggestion(suggestion: Suggestion | None) -> list[str]:
    """What the archive suggests; the values that fewer than LEAST of 100 have are left out."""
    if suggestion is None:
        return []
    counts = [(each, round(100 * each.share.value)) for each in suggestion.shares]
    told = [
        f"{count} ({100 * each.share.low:.0f} to {100 * each.share.high:.0f}) "
        f"{'have' if suggestion.several else 'are'} {label_word(suggestion.label, each.value)}"
        for each, count in counts
        if count >= LEAST
    ]
    if not told:
        return [f"Of 100 photographs like this, fewer than {LEAST} have any label that was learnt."]
    said = [f"Of 100 photographs like this, {', '.join(told)}."]
    if not suggestion.new:
        said.append(
            "These numbers were learnt from photographs that the encoder was trained on: a new "
            "photograph is told less surely than they say."
        )
    return said
