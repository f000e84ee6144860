"""Left or right, told from photographs of people that nothing was trained on.

    python benchmarks/laterality.py RUN DATA [--encoder FOLDER] [--write]

RUN is the training run of the matching encoder. The rule is fitted to the people it was trained
on (those of DATA that are not in RUN/held_out/*.csv); the others ask, and so do tvhl and chase_db1,
which it never saw at all. Prints the share that is right with a 95 % interval over people, and the
share among photographs of which the rule is sure (probability .9 or more). Markdown. --write keeps
the rule beside the encoder.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from foveola.cases import Case
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.evaluation.tables import piped
from foveola.evaluation.uncertainty import means, subject_bootstrap
from foveola.images.decode import decode
from foveola.matching.calibrate import learn_sides
from foveola.matching.gallery import SHIPPED
from foveola.matching.laterality import LATERALITY, Laterality, mirror_change

SURE = 0.9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default=SHIPPED)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    encoder = Encoder.load(arguments.encoder)
    held = sorted((arguments.run / "held_out").glob("*.csv"))
    known = [case for path in held for case in trained(path, arguments.data)]
    rule = learn_sides(encoder, known)
    if arguments.write:
        rule.save(encoder.release.folder / LATERALITY)
    print(f"fitted to {rule.photographs:,} photographs\n")
    rows = [["data set", "photographs", "right", "95 % interval", "sure", "right of these"]]
    for path in held:
        rows.append(row(path, path.stem, encoder, rule))
    for name in ("tvhl", "chase_db1"):
        rows.append(row(arguments.data / name / "labels.csv", name, encoder, rule))
    print(piped(rows))


def trained(held: Path, data: Path) -> list[Case]:
    """The cases of a data set whose people are not among the held-out ones."""
    away = {case.identity for case in Manifest.read(held, collection=held.stem).cases()}
    every = Manifest.read(data / held.stem / "labels.csv", collection=held.stem).cases()
    return [case for case in every if case.identity not in away]


def row(path: Path, name: str, encoder: Encoder, rule: Laterality) -> list[str]:
    """One data set."""
    cases = [c for c in Manifest.read(path, collection=name).cases() if c.eye is not None]

    def change(case: Case) -> np.ndarray:
        return mirror_change(encoder, decode(Path(case.path), min_side=encoder.contract.size))

    with ThreadPoolExecutor() as pool:
        sides = rule.of(np.stack(list(pool.map(change, cases))))
    right = np.array([side.eye == case.eye for side, case in zip(sides, cases, strict=True)], float)
    sure = np.array([side.probability >= SURE for side in sides])
    people = np.unique([str(c.identity) for c in cases], return_inverse=True)[1]
    everyone = np.empty((len(right), 0), bool)
    low, high = subject_bootstrap(right[:, None], everyone, people).micro[0]
    value = means(right[:, None], everyone).micro[0]
    return [
        name, f"{len(cases):,}", f"{value:.4f}", f"{low:.4f} to {high:.4f}",
        f"{sure.mean():.3f}", f"{right[sure].mean():.4f}" if sure.any() else "-",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
