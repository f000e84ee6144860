"""The model card: what an encoder or a reader was trained on, how good it is, and what it is not for.

In the order of Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from foveola.encoders.reading_model import ReaderRelease
from foveola.encoders.release import FUNCTION, Release


def render_card(release: Release) -> str:
    """Write the card in Markdown, from what encoder.json holds."""
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
    """Tell who was in which part; the mark lets others check that they split alike."""
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


# --- readers ---


READER_INTENDED: Final = """\
- To list, for a clinician or a researcher who then looks at the photographs, which findings they
  probably show, where, and similar patients with theirs.
- As a baseline, or a start, for readers of your own."""

READER_NOT_FOR: Final = """\
- A diagnosis, triage, screening without a reader, or any decision about a patient that nobody
  reviews.
- Photographs that are not colour fundus photographs, or that are not gradable: it gives
  probabilities for those too."""

READER_LIMITS: Final = """\
- It states no diagnosis and is no medical device.
- Its probabilities are calibrated for people as frequent as in its training data; where a finding
  is rarer, they are too high.
- Labels of ODIR are noisy at eye level, and part of every figure is the camera's: features of an
  untrained network tell myopia there with an AUC of .96.
- With one eye it says less, and is judged as such below only where a table says so."""

_OVERALL = ("final", "kappa", "F1 (official)", "AUC", "macro-AUC", "mAP", "macro-F1", "exact match", "ECE")


def render_reader_card(release: ReaderRelease) -> str:
    """Write the card in Markdown, from what reader.json holds."""
    card, contract = release.card, release.contract
    parts = [
        f"# {release.name}",
        "Photographs of both eyes of a person in, or of one; probabilities of "
        f"{', '.join(release.labels)} out. Fingerprint `{release.fingerprint}`.",
        *("## Intended use", READER_INTENDED),
        *("## What it must not be used for", READER_NOT_FOR),
        *(
            "## Input",
            f"RGB, 8 bits, cut to the circle of the field of view, {contract.size} x "
            f"{contract.size} px{', lightness equalised' if release.enhance else ''}; contract "
            f"`{contract.hash}`.",
        ),
        *("## Training", _reader_training(card, release.alone), data_lines(card), str(card.get("notes", ""))),
        *_reader_evaluation(card),
        *("## Terms", str(card.get("licence") or "not stated"), "## Limits", READER_LIMITS),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _reader_training(card: Mapping[str, Any], of_one: Sequence[float] | None) -> str:
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


def _reader_evaluation(card: Mapping[str, Any]) -> tuple[str, ...]:
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


# --- what is said of every model of a kind ---


class Words(NamedTuple):
    """Intended use, what it must not be used for, and limits, as Markdown lists."""

    intended: str
    not_for: str
    limits: str


SIMILARITY: Final = Words(
    intended="""\
- To find cases of an archive that look like a photograph, for a clinician or a researcher who
  then looks at them and judges.
- To find images whose grade disagrees with those of their nearest cases, for a reading centre.
- As a baseline, or a start, for descriptors of your own.""",
    not_for="""\
- A diagnosis or a grade, triage, screening without a reader, or any decision about a patient
  that nobody reviews.
- Finding out whose eye it is. It was not made for that, but photographs of one eye do come out
  alike: treat descriptors as personal data.
- Photographs that are not colour fundus photographs; it ranks those too, and says nothing.""",
    limits="""\
- It orders photographs by likeness. It states no diagnosis and is no medical device.
- Grades in public data sets are noisy; severe grades (3, 4) are rare in them, so figures for
  those rest on few people: look at the intervals.
- Public sets leak disease through the camera. Part of every figure is the camera's, and a
  camera it never saw can be ranked badly, as can children's eyes and diseases it never saw.
- Small lesions are lost at the size it sees: grade 1, microaneurysms alone, is hardly told
  from grade 0.
- Photographs of the same person are alike for reasons other than disease: leave them out of
  a search, as Foveola does unless told otherwise.""",
)

MATCHING: Final = Words(
    intended="""\
- To find other photographs of the same eye in an archive whose keeper has allowed that and said
  what for: wrong identities, swapped eyes, copies, a subject on both sides of a split.
- As a baseline, or a start, for matching encoders of your own.""",
    not_for="""\
- Finding out who an unknown person is. Its descriptors are biometric data: they tell whose eye
  it is, so they must not be published, nor kept where nobody needs them.
- A decision about a person that nobody reviews. A match is a question to a person who looks at
  both photographs; so is "no match".
- Similar cases, a diagnosis or a grade: it was made to see past disease.
- Photographs that are not colour fundus photographs; it ranks those too, and says nothing.""",
    limits="""\
- Nearly all eyes it was trained on were photographed once; their other visits were made by
  augmentation. How it does after years of real ageing, disease and treatment was not measured.
- Alone it is weak where little of the field is shared. Foveola uses it to choose candidates and
  has local features prove them.
- Fields of one camera make eyes look alike; a camera it never saw can be matched badly, as can
  children's eyes and eyes whose media are not clear.""",
)

BROUGHT_IN: Final = Words(
    intended="""\
- To find cases of an archive that look like a photograph by a network that Foveola did not make,
  for a clinician or a researcher who then looks at them and judges.""",
    not_for="""\
- A diagnosis or a grade, triage, screening without a reader, or any decision about a patient
  that nobody reviews.
- Whatever the maker of the network, or its licence, says it is not for.
- Finding out whose eye it is. Photographs of one eye may come out alike: treat descriptors as
  personal data.""",
    limits="""\
- How good it is was not measured: run `foveola evaluate` on an archive with labels.
- It may have been trained on the photographs it is then judged by; nothing here can tell.
- It orders photographs by likeness. It states no diagnosis and is no medical device.
- It does not know what a fundus photograph is: other pictures are ranked too.""",
)

BY_TASK: Final = {"similarity": SIMILARITY, "matching": MATCHING, "brought in": BROUGHT_IN}
