"""Plant errors in an archive of real photographs, audit it, and count what was found.

    python benchmarks/audit.py DATA WORK

DATA holds the manifests of docs/how-to/audit.md; WORK is a folder for the archive and the altered files.
2,000 photographs of people that the shipped encoders were not trained on where there are enough,
and 100 errors of each kind:

    one eye, two subjects    TVHL's second photographs under a new subject, then second visits made
                             by foveola.matching.calibrate (80 % of the field left)
    two eyes, one id         somebody else's eye of the same side as a second photograph; beside
                             100 true second visits under the right id
    wrong side               left and right exchanged in the record of one photograph
    copy                     20 each: the same file, compressed, cropped, rotated, brighter
    two splits               a subject whose two photographs lie in two splits
    label                    a grade two or more steps from the recorded one

A finding is right when one of its photographs carries a planted error. Prints Markdown.
"""

import argparse
import shutil
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.indexing import add_missing
from foveola.matching import gallery, permission
from foveola.matching.calibrate import harden
from foveola.matching.saved_audit import KINDS
from foveola.matching.worklist import Worklist, audit_archive, to_page
from foveola.notebook import piped
from foveola.records import Case

PHOTOGRAPHS = 2000
ERRORS = 100
SETS = ("tvhl", "srahim", "eyepacs", "idrid", "odir")


@dataclass
class Planted:
    """The cases of the archive, and the paths that carry an error, by kind."""

    cases: list[Case]
    wrong: dict[str, list[set[str]]] = field(default_factory=lambda: defaultdict(list))
    used: set[tuple[str, str]] = field(default_factory=set)

    def take(self, count: int, good, rng: np.random.Generator) -> list[int]:
        """Places of cases of people not used yet, one of each."""
        order = rng.permutation(len(self.cases)).tolist()
        chosen = []
        for i in order:
            case = self.cases[i]
            if case.identity not in self.used and good(case) and len(chosen) < count:
                chosen.append(i)
                self.used.add(case.identity)
        return chosen


def main() -> None:
    """Plant, audit, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shutil.rmtree(arguments.work, ignore_errors=True)
    made = arguments.work / "made"
    made.mkdir(parents=True)
    planted = Planted(photographs(arguments.data, rng))
    for plant in (one_eye_two_subjects, two_eyes_one_id, wrong_side, copies, two_splits, labels):
        plant(planted, made, rng)
    folder = arguments.work / "archive"
    add_missing(folder, planted.cases)
    gallery.update(folder, permission.switch_on(folder, "benchmark"))
    work = audit_archive(folder)
    print(f"{len(work.cases):,} photographs\n")
    print(piped(counted(planted, work)))
    (arguments.work / "audit.html").write_text(to_page(work, shown=12))


def photographs(data: Path, rng: np.random.Generator) -> list[Case]:
    """Whole people, until there are enough photographs."""
    people: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for name in SETS:
        for case in Manifest.read(data / name / "labels.csv", collection=name).cases():
            people[case.identity].append(case)
    order = sorted(people, key=lambda who: (SETS.index(people[who][0].collection), rng.random()))
    cases: list[Case] = []
    for who in order:
        if len(cases) < PHOTOGRAPHS:
            cases += people[who]
    return [replace(c, extra={**c.extra, "split": "train"}) for c in cases]


def second_visit(case: Case, made: Path, name: str, seed: int, **record) -> Case:
    """Another visit of a photograph, written as a file of its own."""
    path = made / f"{name}.jpg"
    image = harden(decode(Path(case.path)), seed, field=0.8)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return replace(case, image=path.name, path=str(path), **record)


def one_eye_two_subjects(planted: Planted, made: Path, rng: np.random.Generator) -> None:
    """Real second photographs first."""
    eyes: dict[tuple, list[int]] = defaultdict(list)
    for i, case in enumerate(planted.cases):
        if case.collection == "tvhl":
            eyes[(case.identity, case.eye)].append(i)
    seconds = [members[1] for members in eyes.values() if len(members) > 1]
    for n, i in enumerate(seconds[:ERRORS]):
        planted.cases[i] = replace(planted.cases[i], subject=f"new-{n}")
        planted.wrong["one eye, two subjects"].append({planted.cases[i].path})
    planted.used |= {key[0] for key in eyes}
    for n, i in enumerate(planted.take(ERRORS - len(seconds), lambda c: c.eye, rng)):
        visit = second_visit(planted.cases[i], made, f"again-{n}", n, subject=f"made-{n}")
        planted.cases.append(visit)
        planted.wrong["one eye, two subjects"].append({visit.path})


def two_eyes_one_id(planted: Planted, made: Path, rng: np.random.Generator) -> None:
    """And as many true second visits, which nobody should raise."""
    chosen = planted.take(3 * ERRORS, lambda c: c.eye, rng)
    for n, i in enumerate(chosen[:ERRORS]):
        planted.cases.append(second_visit(planted.cases[i], made, f"true-{n}", 1000 + n))
    rest = chosen[ERRORS:]
    lefts = [i for i in rest if planted.cases[i].eye == "left"]
    rights = [i for i in rest if planted.cases[i].eye == "right"]
    pairs = [p for side in (lefts, rights) for p in zip(side[::2], side[1::2], strict=False)]
    for n, (i, j) in enumerate(pairs[:ERRORS]):
        keeper = planted.cases[i]
        visit = second_visit(
            planted.cases[j], made, f"other-{n}", 2000 + n, subject=keeper.subject, collection=keeper.collection
        )
        # the eye's own first photograph leaves, so that nothing else tells
        planted.cases[j] = replace(planted.cases[j], subject=None, eye=None)
        planted.cases.append(visit)
        planted.wrong["two eyes, one id"].append({visit.path})


def wrong_side(planted: Planted, _: Path, rng: np.random.Generator) -> None:
    """Of people with one photograph left, so that nothing but the photograph tells."""
    for i in planted.take(ERRORS, lambda c: c.eye, rng):
        case = planted.cases[i]
        planted.cases[i] = replace(case, eye="left" if case.eye == "right" else "right")
        planted.wrong["wrong side"].append({case.path})


def copies(planted: Planted, made: Path, rng: np.random.Generator) -> None:
    """20 of each alteration, under the same subject."""
    for n, i in enumerate(planted.take(ERRORS, lambda c: c.eye, rng)):
        case, path = planted.cases[i], made / f"copy-{n}.jpg"
        alter(Path(case.path), path, n // 20)
        planted.cases.append(replace(case, image=path.name, path=str(path)))
        planted.wrong["copy"].append({str(path)})


def alter(source: Path, target: Path, how: int) -> None:
    """0 the same file, 1 compressed, 2 cropped, 3 rotated, 4 brighter."""
    if how == 0:
        shutil.copy(source, target)
        return
    image = decode(source)
    height, width = image.shape[:2]
    if how == 2:
        image = image[height // 10 : -height // 10, width // 10 : -width // 10]
    elif how == 3:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1)
        image = cv2.warpAffine(image, turn, (width, height))
    elif how == 4:
        image = np.clip(image * 1.3 + 10 * (image > 12), 0, 255).astype(np.uint8)
    quality = 50 if how == 1 else 92
    cv2.imwrite(str(target), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


def two_splits(planted: Planted, _: Path, rng: np.random.Generator) -> None:
    """One photograph of a person moves to the other split."""
    often = defaultdict(int)
    for case in planted.cases:
        often[case.identity] += 1
    for i in planted.take(ERRORS, lambda c: often[c.identity] > 1 and c.subject, rng):
        case = planted.cases[i]
        planted.cases[i] = replace(case, extra={**case.extra, "split": "test"})
        of = {c.path for c in planted.cases if c.identity == case.identity}
        planted.wrong["two splits"].append(of)


def labels(planted: Planted, _: Path, rng: np.random.Generator) -> None:
    """Grades two or more steps away."""
    for i in planted.take(ERRORS, lambda c: c.grade is not None, rng):
        case = planted.cases[i]
        far = [g for g in range(5) if abs(g - case.grade) >= 2]
        planted.cases[i] = replace(case, grade=int(rng.choice(far)))
        planted.wrong["label"].append({case.path})


def counted(planted: Planted, work: Worklist) -> list[list[str]]:
    """By kind: findings, those of planted errors, and planted errors that were found."""
    rows = [["kind", "planted", "found", "recall", "findings", "precision", "any planted error"]]
    everything = set().union(*(of for errors in planted.wrong.values() for of in errors))
    for kind in KINDS:
        findings = [f for _, f in work.open if f.kind == kind]
        shown = [{work.cases[i].path for i in (f.cases[:1] if kind == "label" else f.cases)} for f in findings]
        errors = planted.wrong[kind]
        wrong, named = set().union(*errors), set().union(*shown)
        good = sum(bool(paths & wrong) for paths in shown)
        other = sum(bool(paths & everything) for paths in shown)
        found = sum(bool(of & named) for of in errors)
        ratio = f"{good / len(shown):.2f}" if shown else "-"
        rows.append(
            [
                kind,
                str(len(errors)),
                str(found),
                f"{found / max(1, len(errors)):.2f}",
                str(len(shown)),
                ratio,
                f"{other / len(shown):.2f}" if shown else "-",
            ]
        )
    return rows


if __name__ == "__main__":
    main()
