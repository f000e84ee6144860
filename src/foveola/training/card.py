"""The model card: what an encoder was trained on, how good it is, and what it is not for."""

from collections.abc import Mapping
from typing import Any

from foveola.encoders.release import Release

_LIMITS = """\
- It orders photographs by likeness. It states no diagnosis and is no medical device.
- Grades in public data sets are noisy; severe grades (3, 4) are rare in them.
- A new camera, a child's eye or a disease it was not trained on can be ranked badly.
- Photographs of the same person are alike for reasons other than disease: leave them out of
  a search, as Foveola does unless told otherwise.
"""


def render_card(release: Release) -> str:
    """Markdown for people, from what encoder.json holds."""
    card = release.card
    parts = [
        f"# {release.name}",
        f"Fundus photograph in, unit descriptor of {release.dimension} numbers out. "
        f"Fingerprint `{release.fingerprint}`.",
        "## Input",
        f"RGB, field of view found and cropped, {release.contract.size} x "
        f"{release.contract.size} px; contract `{release.contract.hash}`.",
        "## Training",
        _training(card),
        str(card.get("notes", "")),
    ]
    if card.get("evaluation"):
        parts += ["## How good it is", _evaluation(card["evaluation"])]
    parts += ["## Terms", str(card.get("licence") or "not stated"), "## Limits", _LIMITS]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _training(card: Mapping[str, Any]) -> str:
    training = card["training"]
    rows = ["| data set | labelled images |", "|---|---|"]
    rows += [f"| {name} | {count} |" for name, count in training["images"].items()]
    head = f"Backbone {card['backbone']}, {training['epochs']} epochs, seed {training['seed']}."
    return head + "\n\n" + "\n".join(rows)


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    rows = [
        f"{evaluation['protocol']}",
        "",
        "| data set | queries | macro mAP@10 (95 % interval) | chance | ImageNet features "
        "| grade classifier |",
        "|---|---|---|---|---|---|",
    ]
    for row in evaluation["rows"]:
        low, high = row["interval"]
        rows.append(
            f"| {row['collection']} | {row['queries']} | {row['macro_map10']:.3f} "
            f"({low:.3f}-{high:.3f}) | {row['chance']:.3f} | {row['baseline']:.3f} | "
            + (f"{row['classifier']:.3f} |" if "classifier" in row else "not measured |")
        )
    return "\n".join([*rows, "", f"Reproduce: `{evaluation['command']}`"])
