"""The card of a reader, in the order of `foveola.encoders.card`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from foveola.encoders.card import data_lines
from foveola.encoders.reading_model import ReaderRelease

INTENDED: Final = """\
- To list, for a clinician or a researcher who then looks at the photographs, which findings they
  probably show, where, and similar patients with theirs.
- As a baseline, or a start, for readers of your own."""

NOT_FOR: Final = """\
- A diagnosis, triage, screening without a reader, or any decision about a patient that nobody
  reviews.
- Photographs that are not colour fundus photographs, or that are not gradable: it gives
  probabilities for those too."""

LIMITS: Final = """\
- It states no diagnosis and is no medical device.
- Its probabilities are calibrated for people as frequent as in its training data; where a finding
  is rarer, they are too high.
- Labels of ODIR are noisy at eye level, and part of every figure is the camera's: features of an
  untrained network tell myopia there with an AUC of .96.
- With one eye it says less, and is judged as such below only where a table says so."""

_OVERALL = ("final", "kappa", "F1 (official)", "AUC", "macro-AUC", "mAP", "macro-F1", "exact match", "ECE")


def render_reader_card(release: ReaderRelease) -> str:
    """Markdown for people, from what reader.json holds."""
    card, contract = release.card, release.contract
    parts = [
        f"# {release.name}",
        "Photographs of both eyes of a person in, or of one; probabilities of "
        f"{', '.join(release.labels)} out. Fingerprint `{release.fingerprint}`.",
        *("## Intended use", INTENDED),
        *("## What it must not be used for", NOT_FOR),
        *(
            "## Input",
            f"RGB, 8 bits, cut to the circle of the field of view, {contract.size} x "
            f"{contract.size} px{', lightness equalised' if release.enhance else ''}; contract "
            f"`{contract.hash}`.",
        ),
        *("## Training", _training(card, release.alone), data_lines(card), str(card.get("notes", ""))),
        *_evaluation(card),
        *("## Terms", str(card.get("licence") or "not stated"), "## Limits", LIMITS),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _training(card: Mapping[str, Any], of_one: Sequence[float] | None) -> str:
    training = card["training"]
    gates = "with" if card["attention"] else "without"
    alone = "" if of_one is None else (" Of one eye alone it tells that eye's own answer, by thresholds of its own.")
    parity = (
        f" The released reader's probabilities differ from the trained model's by at most {card['parity']:.5f}."
        if "parity" in card
        else ""
    )
    return (
        f"{card['backbone']} shared by both eyes, residual blocks {gates} attention, fusion "
        f"{card['fusion']}; {training['epochs']} epochs, seed {training['seed']}.{parity}{alone}"
    )


def _evaluation(card: Mapping[str, Any]) -> tuple[str, ...]:
    found = card.get("evaluation")
    if not found:
        return ()
    official, chosen = found["official"], found["chosen"]
    overall = ["| figure | threshold 0.5 | thresholds chosen on validation people |", "|---|---|---|"]
    overall += [
        f"| {name} | {_rate(official['overall'][name])} | {_rate(chosen['overall'][name])} |" for name in _OVERALL
    ]
    names = ("AUC", "AP", "sensitivity", "specificity")
    labels = [f"| label | people | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    labels += [
        f"| {label} | {rates['positive']} | " + " | ".join(_rate(rates[name]) for name in names) + " |"
        for label, rates in chosen["by_label"].items()
    ]
    none = official["baselines"]["all no"]
    return (
        "## How good it is",
        f"On {official['rows']} people it was not trained on, with "
        f"{100 * official['confidence']:.0f} % intervals over people. A reader that always says "
        f"no reaches a final score of {none['final']:.3f} and an official F1 of "
        f"{none['F1 (official)']:.3f}.",
        "\n".join(overall),
        "\n".join(labels),
    )


def _rate(rate: Mapping[str, Any]) -> str:
    if rate.get("value") is None:
        return "not defined"
    if not rate.get("interval"):
        return f"{rate['value']:.3f}"
    low, high = rate["interval"]
    return f"{rate['value']:.3f} ({low:.3f} to {high:.3f})"
