"""The model card: what an encoder was trained on, how good it is, and what it is not for.

In the order of Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from foveola.encoders.card_words import BY_TASK
from foveola.encoders.release import FUNCTION, Release


def render_card(release: Release) -> str:
    """Markdown for people, from what encoder.json holds."""
    card = release.card
    words = BY_TASK[str(card.get("task", "similarity"))]
    parts = [
        f"# {release.name}",
        f"Fundus photograph in, unit descriptor of {release.dimension} numbers out. "
        f"Fingerprint `{release.fingerprint}`.",
        *("## Intended use", words.intended),
        *("## What it must not be used for", words.not_for),
        *("## Input", _contract(release)),
        _labels(card),
        *("## Training", _training(card), data_lines(card), str(card.get("notes", ""))),
    ]
    if card.get("evaluation"):
        parts += ["## How good it is", _evaluation(card["evaluation"])]
    if card.get("tables"):
        parts += ["## How good it is", *(_table(table) for table in card["tables"])]
    parts += ["## Terms", str(card.get("licence") or "not stated"), "## Limits", words.limits]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _table(table: Mapping[str, Any]) -> str:
    """What was measured, and a table of it: a header row, then rows of cells."""
    head, *rows = (list(map(str, row)) for row in table["rows"])
    lines = [head, ["---"] * len(head), *rows]
    return f"{table['caption']}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _contract(release: Release) -> str:
    contract = release.contract
    steps = ["RGB, 8 bits"]
    steps.append("cut to the circle of the field of view" if contract.crop else "padded square")
    if contract.mask:
        steps.append("what lies outside it blackened")
    if contract.orient:
        steps.append("left eyes mirrored")
    steps.append(f"{contract.size} x {contract.size} px")
    return f"{', '.join(steps)}; contract `{contract.hash}`."


def _labels(card: Mapping[str, Any]) -> str:
    """The part of the descriptor that says which labels are likely, where there is one."""
    if not card.get("labels"):
        return ""
    names, share = card["labels"]["names"], card["labels"]["share"]
    return (
        f"## Labels in the descriptor\n\nThe last {len(names)} numbers are the square roots of "
        f"the probabilities of {', '.join(names)}, in that order; {share:g} of the cosine comes "
        "from them, the rest from the look of the photograph. They order cases and are no "
        "diagnosis; they were not calibrated."
    )


def _training(card: Mapping[str, Any]) -> str:
    if "origin" in card:
        return _origin(card["origin"])
    training = card["training"]
    rows = ["| data set | labelled images |", "|---|---|"]
    rows += [f"| {name} | {count} |" for name, count in training["images"].items()]
    head = f"Backbone {card['backbone']}, {training['epochs']} epochs, seed {training['seed']}."
    return head + "\n\n" + "\n".join(rows)


def _origin(origin: Mapping[str, Any]) -> str:
    """Of a network that was made elsewhere: all that is known of it."""
    if origin["kind"] == FUNCTION:
        return (
            f"A Python function, version {origin['version']}, that Foveola does not keep; nothing "
            "is known of what it was trained on."
        )
    lines = [
        "Brought in by `foveola encoder add`; nothing is known of what it was trained on.",
        f"Its file: {origin['kind']}, {origin['bytes']} bytes, SHA-256 `{origin['sha256']}`.",
    ]
    if "exported" in origin:
        lines.append(
            "The file says that it was written by `foveola encoder export` from "
            f"{origin['exported']['name']}, fingerprint `{origin['exported']['fingerprint']}`, "
            "whose own card says what that was trained on."
        )
    return "\n".join(lines)


def data_lines(card: Mapping[str, Any]) -> str:
    """Who was in which part; the mark lets others check that they split alike."""
    if not card.get("data"):
        return ""
    rows = [
        "| data set | part | images | subjects | grade 0 / 1 / 2 / 3 / 4 / unknown | mark |",
        "|---|---|---|---|---|---|",
    ]
    for entry in card["data"]:
        grades = entry["grades"]
        counts = " / ".join(str(grades.get(g, 0)) for g in ("0", "1", "2", "3", "4", "unknown"))
        rows.append(
            f"| {entry['collection']} | {entry['part']} | {entry['images']} | "
            f"{entry['subjects'] or 'unknown'} | {counts} | `{entry['mark']}` |"
        )
    return "\n".join(rows)


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    rows = evaluation["rows"]
    parts = [evaluation["protocol"], "Gallery of the training part:", _main_table(rows)]
    apart = [row | row["unseen"] for row in rows if "unseen" in row]
    if apart:
        parts += ["Gallery of people it never saw:", _main_table(apart)]
    if any("per_grade" in row for row in evaluation["rows"]):
        parts += ["By grade, chance in brackets:", _grade_table(evaluation["rows"])]
    if evaluation.get("subgroups"):
        parts += ["By group of the query:", _group_table(evaluation["subgroups"])]
    return "\n\n".join([*parts, f"Reproduce: `{evaluation['command']}`"])


def _main_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| data set | queries | macro mAP@10 (95 % interval) | chance | ImageNet features | grade classifier |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        classifier = f"{row['classifier']:.3f}" if "classifier" in row else "not measured"
        lines.append(
            f"| {row['collection']} | {row['queries']} | {_ranged(row)} | {row['chance']:.3f} | "
            f"{row['baseline']:.3f} | {classifier} |"
        )
    return "\n".join(lines)


def _grade_table(rows: Sequence[Mapping[str, Any]]) -> str:
    grades = sorted({grade for row in rows for grade in row.get("per_grade", {})})
    lines = [f"| data set | {' | '.join(f'grade {g}' for g in grades)} |"]
    lines.append("|---" * (len(grades) + 1) + "|")
    for row in rows:
        cells = (
            f"{row['per_grade'][g]:.2f} ({row['chance_per_grade'][g]:.2f})" if g in row.get("per_grade", {}) else "none"
            for g in grades
        )
        lines.append(f"| {row['collection']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _group_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| data set | group | queries | macro mAP@10 (95 % interval) | chance |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['collection']} | {row['column']} {row['value']} | {row['queries']} | "
        f"{_ranged(row)} | {row['chance']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _ranged(row: Mapping[str, Any]) -> str:
    if not row["interval"]:
        return f"{row['macro_map10']:.3f}"
    low, high = row["interval"]
    return f"{row['macro_map10']:.3f} ({low:.3f}-{high:.3f})"
