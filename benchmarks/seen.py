"""Which photographs a shipped encoder was trained on, beside it.

    python benchmarks/seen.py RECIPE ... [--write]

`foveola train` keeps marks of the photographs it trained on with the encoder, see
`foveola.trust.familiarity`. Encoders that were released before it did are given theirs here, from the
recipes and the same photographs. Prints how many there are by collection, and how many by the card;
how many files that are; and how many of these are also files of people held back. --write puts the
marks beside the encoder. Markdown.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from foveola.config import load_config
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import add_parts
from foveola.notebook import piped
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.data import training_labels
from foveola.training.prepared import HELD, TRAINED, parted_cases
from foveola.trust import SEEN, Seen


def main() -> None:
    """Mark and count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    table = [["encoder", "collection", "marked", "trained on, by the card"]]
    for recipe in arguments.recipes:
        config = load_config(recipe, TrainConfig)
        release = Encoder.load(config.name).release
        trained, held = parted(config, recipe.parent)
        seen = Seen.of_files(Path(case.path) for case in trained)
        said = release.card["training"]["images"]
        counts = Counter(case.collection for case in trained)
        away = Seen.of_files(Path(case.path) for case in held)
        both = len(np.intersect1d(seen.marks, away.marks))
        for name in sorted(said):
            table.append([config.name, name, f"{counts[name]:,}", f"{said[name]:,}"])
        table.append([config.name, "different files", f"{len(seen.marks):,}", ""])
        table.append([config.name, "of people held back", str(both), ""])
        if arguments.write:
            seen.save(release.folder)
            add_parts(release.folder, SEEN)
    print(piped(table))


def parted(config: TrainConfig, base: Path) -> tuple[list[Case], list[Case]]:
    """Those trained on, and those of people held back."""
    with tempfile.TemporaryDirectory() as away:
        every = [parts for _, parts in parted_cases(config.data, base, Path(away))]
    of = {part: [case for parts in every for case in parts[part]] for part in (TRAINED, HELD)}
    codes = training_labels(of[TRAINED], config.data.label, alone=config.data.alone).codes
    return [case for case, code in zip(of[TRAINED], codes, strict=True) if code >= 0], of[HELD]


if __name__ == "__main__":
    main()
