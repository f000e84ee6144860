"""A region search in words and as a page with pictures."""

from pathlib import Path

import cv2
import numpy as np

from foveola.errors import ImageError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, field_to_show, prepare
from foveola.images.overlay import COLOUR, jpeg
from foveola.labels import is_phantom
from foveola.regions.box import Box
from foveola.regions.results import RegionResult
from foveola.report import Pair, Photograph, pairs_page
from foveola.trust.sentences import of_person, of_quality, of_refused

SIDE = 360  # pixels of a picture
NOTE = (
    "A box shows where the encoder sees something alike; that need not be a lesion of the same "
    "kind. How often it is: docs/how-to/regions.md."
)


def sentences(result: RegionResult) -> list[str]:
    """What to know before looking at the hits."""
    person = of_person(result.query.subject is not None, result.excluded_same_subject)
    compared = None if result.considered is None else f"{result.considered:,} cases compared"
    said = ["; ".join(filter(None, [compared, f"same person: {person}"]))]
    if not result.looks.comparable:
        said.append(f"This {of_refused(result.looks)}: no place is sufficiently similar.")
    if (doubt := of_quality(result.looks, result.gradability)) is not None:
        said.append(doubt)
    if result.undescribed:
        said.append(
            f"{result.undescribed:,} more cases could not be searched: their places are not kept "
            "yet (foveola regions update)"
        )
    if result.typical is not None:
        said.append(
            f"Half of the cases have a place of similarity {result.typical:.3f} or more, and the "
            f"region itself would get {result.itself:.3f}: hits hardly above the half are like "
            "what most photographs show."
        )
    return said


def to_page(result: RegionResult, image: Path, title: str = "Cases like one place") -> str:
    """A page with the marked photograph and each hit with its box."""
    query = Photograph.of("Query, with the region", result.query, _marked(image, result.square))
    pairs = [
        Pair(
            title=f"Hit {hit.rank}",
            badge=f"{hit.similarity:.3f}",
            pictures=[query, Photograph.of("In the archive", hit.case, _marked(Path(hit.case.path), hit.square))],
        )
        for hit in result.hits
    ]
    facts = [
        ("Question", "which cases have a place like the region that was marked"),
        ("Region", ", ".join(f"{100 * v:.1f} %" for v in result.region) + " (left, top, width, height of the picture)"),
        ("Compared", " ".join(sentences(result))),
        ("Condition", result.where or "none"),
        ("Encoder", result.encoder),
        ("Note", NOTE),
    ]
    cases = [result.query, *(hit.case for hit in result.hits)]
    return pairs_page(
        pairs,
        title=title,
        lead=f"{len(result.hits)} cases, the most alike place first.",
        facts=facts,
        phantoms=any(map(is_phantom, cases)),
    )


def _marked(path: Path, box: Box) -> bytes | None:
    """The field of view with a box on it; None where the file can't be read."""
    try:
        image = decode(path, min_side=SIDE)
    except (ImageError, OSError):
        return None
    shown = prepare(image, Contract(size=SIDE, mask=False), view=field_to_show(image))
    drawn = np.ascontiguousarray(shown)
    x, y = round(box.x * SIDE), round(box.y * SIDE)
    corner = (x + round(box.width * SIDE), y + round(box.height * SIDE))
    cv2.rectangle(drawn, (x, y), corner, (0, 0, 0), 4)  # a dark rim shows it on bright retina
    cv2.rectangle(drawn, (x, y), corner, COLOUR, 2)
    return jpeg(drawn)
