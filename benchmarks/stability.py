"""How much of an answer stays when the same photograph comes in another form.

    python benchmarks/stability.py ../shared/data/idrid
    python benchmarks/stability.py ../shared/data/idrid --encoder NAME --photographs 100
    python benchmarks/stability.py ../shared/data/idrid --order looks

Photographs spread evenly over the data set are asked as they are, as PNG of their decoded pixels,
as JPEG of quality 90, and turned by two degrees, among the data set's other photographs, those of
the same person left out. Prints of each form the share of the first ten hits that stay with its
95 % interval, how often the likeliest grade changes (by looks what most of the first ten have, at a
tie the nearest; learned what the archive suggests), the cosine to the photograph as it is, and how
far the prepared pixels are from its own, of 255.
Photographs that the encoder was trained on are among them: this measures a change, not how right
an answer is.
"""

import argparse
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import DEFAULT
from foveola.images.decode import decode
from foveola.images.fundus import prepare
from foveola.indexing import add_missing
from foveola.learned import Ranker
from foveola.records import Case

Pixels = NDArray[np.uint8]
K = 10
DEGREES = 2


class Gallery(NamedTuple):
    """The photographs that are asked among, and their (N, D) descriptors."""

    cases: list[Case]
    descriptors: NDArray[np.float32]
    encoder: Path

    def others(self, at: int) -> NDArray[np.bool_]:
        """(N,) whether each is another photograph, of another person, than the one at `at`."""
        own = self.cases[at]
        return np.array(
            [i != at and (case.identity is None or case.identity != own.identity) for i, case in enumerate(self.cases)]
        )


class Answer(NamedTuple):
    """Rows of the gallery, best first, and the likeliest grade, None where none is known."""

    first: list[int]
    grade: int | None


# A descriptor and the photograph's own row in the gallery -> the answer.
Ask = Callable[[NDArray[np.float32], int], Answer]


def by_looks(gallery: Gallery) -> Ask:
    """By the cosine alone."""

    def ask(descriptor: NDArray[np.float32], at: int) -> Answer:
        scores = np.where(gallery.others(at), gallery.descriptors @ descriptor, -np.inf)
        first = np.argsort(-scores, kind="stable")[:K].tolist()
        return Answer(first, likeliest([gallery.cases[i].grade for i in first]))

    return ask


def by_learned(gallery: Gallery) -> Ask:
    """As an archive does that learnt from its labels, by the fit without the query's person."""
    folder = Path(tempfile.mkdtemp(prefix="stability-")) / "archive"
    add_missing(folder, gallery.cases, gallery.encoder)
    archive = Archive.open(folder, read_only=True)
    ranker = Ranker(archive)
    _, relevance = ranker.choose("learned", "grade")
    assert relevance is not None
    ids = {case.path: id_ for id_, case in archive.cases()}
    rows = {ids[case.path]: i for i, case in enumerate(gallery.cases)}

    def ask(descriptor: NDArray[np.float32], at: int) -> Answer:
        case = gallery.cases[at]
        of = (descriptor, ids[case.path], case.identity)
        found = archive.search(
            descriptor,
            K,
            exclude_identity=case.identity,
            exclude_ids=[of[1]],
            asked=lambda state: ranker.asked(state, relevance, "learned", *of),
        )
        with archive.state() as state:
            said = ranker.suggestion(state, relevance, *of)
        likely = None if said is None else int(said.shares[0].value)
        return Answer([rows[id_] for id_ in found.ids.tolist()], likely)

    return ask


ORDERS: dict[str, Callable[[Gallery], Ask]] = {"learned": by_learned, "looks": by_looks}


def likeliest(grades: Sequence[int | None]) -> int | None:
    """What most of them have; at a tie what comes first."""
    known = Counter(grade for grade in grades if grade is not None)
    return known.most_common(1)[0][0] if known else None


def saved(pixels: Pixels, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def turned(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    by = cv2.getRotationMatrix2D((width / 2, height / 2), DEGREES, 1)
    return np.asarray(cv2.warpAffine(pixels, by, (width, height)), np.uint8)


FORMS: dict[str, Callable[[Pixels], bytes]] = {
    "PNG of the same pixels": lambda pixels: saved(pixels, "PNG", compress_level=1),
    "JPEG quality 90": lambda pixels: saved(pixels, "JPEG", quality=90),
    # quality 95, so that little but the turn is seen
    f"{DEGREES} degrees of rotation": lambda pixels: saved(turned(pixels), "JPEG", quality=95),
}


class Moved(NamedTuple):
    """What one form of one photograph changes."""

    kept: float
    grade: bool
    cosine: float
    pixels: float


def gallery_of(encoder: Encoder, data: Path) -> Gallery:
    cases = list(Manifest.read(data / "labels.csv", collection=data.resolve().name).cases())
    found = [one for one in encoder.encode_cases(cases) if isinstance(one, Encoded)]
    return Gallery([one.case for one in found], np.stack([one.descriptor for one in found]), encoder.release.folder)


def moved(encoder: Encoder, gallery: Gallery, ask: Ask, at: int) -> dict[str, Moved]:
    case = gallery.cases[at]
    data = Path(case.path).read_bytes()

    def seen(data: bytes) -> tuple[Pixels, NDArray[np.float32], Answer]:
        pixels = decode(data, min_side=encoder.contract.min_side)
        prepared = prepare(pixels, encoder.contract, case.eye)
        descriptor = encoder.encode(prepared[None])[0]
        return prepared, descriptor, ask(descriptor, at)

    whole = decode(data)
    prepared, descriptor, answer = seen(data)
    result = {}
    for name, make in FORMS.items():
        other, its, found = seen(make(whole))
        result[name] = Moved(
            len(set(answer.first) & set(found.first)) / max(1, len(answer.first)),
            answer.grade != found.grade,
            float(descriptor @ its),
            float(np.abs(other.astype(np.int16) - prepared).mean()),
        )
    return result


def table(rows: Sequence[dict[str, Moved]]) -> str:
    lines = [f"{'':26}{f'first {K} kept':>18}{'grade changes':>16}{'cosine (least)':>20}{'pixels (most)':>18}"]
    for name in FORMS:
        kept, grade, cosine, pixels = np.array([row[name] for row in rows], float).T
        half = 1.96 * kept.std() / len(rows) ** 0.5
        lines.append(
            f"{name:26}{f'{kept.mean():.1%} +- {half:.1%}':>18}"
            f"{f'{grade.sum():.0f} of {len(rows)}':>16}"
            f"{f'{cosine.mean():.4f} ({cosine.min():.4f})':>20}"
            f"{f'{pixels.mean():.2f} ({pixels.max():.2f})':>18}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set, with its labels.csv")
    parser.add_argument("--encoder", default=DEFAULT, help="name or folder (%(default)s)")
    parser.add_argument("--photographs", type=int, default=60, help="to ask (%(default)s)")
    parser.add_argument("--order", choices=ORDERS, default="learned", help="of hits (%(default)s)")
    parser.add_argument("--threads", type=int, help="cores to use; all unless given")
    options = parser.parse_args()
    encoder = Encoder.load(options.encoder, options.threads)
    gallery = gallery_of(encoder, options.data)
    ask = ORDERS[options.order](gallery)
    count = min(options.photographs, len(gallery.cases))
    rows = [moved(encoder, gallery, ask, i * len(gallery.cases) // count) for i in range(count)]
    print(f"{encoder.name}, {count} of {len(gallery.cases)} photographs of {options.data.name}")
    print(table(rows))


if __name__ == "__main__":
    main()
