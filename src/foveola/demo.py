"""The whole chain on phantoms, for somebody who has just installed Foveola."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foveola.assessment import assess
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.errors import ConfigError
from foveola.images.pictures import thumbnail
from foveola.indexing import index_cases, open_archive
from foveola.metrics import Evaluation
from foveola.phantom import generate
from foveola.records import Case
from foveola.report import demo_page, write_page
from foveola.retrieval import Retriever, SearchResult

SUBJECTS, VISITS, SEED = 60, 2, 7
HITS = 8
# One query of each grade there is, up to this many.
QUERIES = 5


@dataclass(frozen=True)
class Demo:
    """What the demonstration made.

    Attributes:
        manifest: of the phantoms.
        archive: folder of the archive.
        report: the HTML page.
        images: number of phantoms.
        evaluation: leave-one-out on them.
    """

    manifest: Path
    archive: Path
    report: Path
    images: int
    evaluation: Evaluation


def run_demo(out: Path, *, subjects: int = SUBJECTS, stage: Callable[[str, int], Callable[[int], None]]) -> Demo:
    """Draw phantoms, index them, search, evaluate, write a report.

    May be run again in the same folder: what is there already is kept.

    Args:
        out: folder for everything.
        subjects: phantom people, two visits each with both eyes.
        stage: called with the name of each step and its number of items; gives a function
            that takes the number of items just done.

    Raises:
        ConfigError: there are too few subjects, or out holds something else.
    """
    if subjects < 4:
        raise ConfigError(f"{subjects} subjects; expected 4 or more, so that there is a choice")
    count = subjects * VISITS * 2
    advance = stage("drawing phantoms", count)
    manifest = generate(
        out / "phantoms",
        subjects=subjects,
        visits=VISITS,
        seed=SEED,
        masks=False,
        progress=lambda _done, _all: advance(1),
    )
    cases = list(Manifest.read(manifest).cases())
    archive, own = open_archive(out / "archive")
    with archive:
        index_cases(archive, Encoder.load(own), cases, stage("indexing", count))
    searches = _searches(out / "archive", cases)
    evaluation = assess(out / "archive", label="grade").evaluation
    report = out / "report.html"
    card = {"name": searches[0].encoder, "fingerprint": searches[0].fingerprint}
    page = demo_page(searches, evaluation, images=lambda case: thumbnail(Path(case.path), 300), encoder_card=card)
    write_page(report, page)
    return Demo(manifest, out / "archive", report, count, evaluation)


def _searches(archive: Path, cases: list[Case]) -> list[SearchResult]:
    """One search for the last case of every grade, worst first."""
    by_grade = {case.grade: case for case in cases}
    chosen = [by_grade[grade] for grade in sorted(by_grade, key=lambda g: -(g or 0))][:QUERIES]
    with Retriever.open(archive) as retriever:
        return [retriever.search(Path(case.path), HITS) for case in chosen]
