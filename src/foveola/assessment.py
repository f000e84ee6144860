"""How well an archive answers: its cases as queries, those of a split, or of another manifest.

Twice: by looks, and by what the archive learns from its labels. No person who asks is in the fit
that answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive
from foveola.encoders.encoder import Encoded, Encoder, Failed
from foveola.errors import ArchiveError, FoveolaError, ImageError
from foveola.metrics import Difference, Evaluation, Exclude, RetrievalData, compare, evaluate_retrieval
from foveola.metrics.inputs import known_columns
from foveola.records import Case
from foveola.relevance.crossfit import LearnedScores, cross_fitted, fitted_to_gallery
from foveola.relevance.labels import LabelTable, codes_of
from foveola.relevance.learn import Prior, TooFewError, load_priors
from foveola.resources import AnyPath
from foveola.trust import Seen, label_values

Digests = Sequence[bytes]

if TYPE_CHECKING:  # pandas, which a search can do without
    from foveola.datasets.splits import SplitFiles


@dataclass(frozen=True)
class Assessment:
    """An evaluation, and the queries that could not be asked.

    Attributes:
        evaluation: the numbers of the order by looks.
        failed: queries whose file can't be used.
        phantom: whether any photograph of either side is a phantom.
        gallery: the images that were ranked, for a map of them.
        left_out: cases of the archive that the split files do not name.
        trained: which photographs the encoder was trained on, told by their files; None where it
            does not say.
        learned: the numbers of the learned order, on the same queries; None where too few labels
            are known.
        refused: why nothing could be learnt; None where it could.
    """

    evaluation: Evaluation
    failed: tuple[Failed, ...]
    phantom: bool
    gallery: RetrievalData = field(repr=False, compare=False)
    left_out: int = 0
    trained: "Trained | None" = None
    learned: Evaluation | None = None
    refused: str | None = None

    @property
    def gain(self) -> Difference | None:
        """Return what the learned order reaches beyond looks, query by query."""
        return None if self.learned is None else compare(self.evaluation, self.learned)


class Trained(NamedTuple):
    """How many labelled photographs of an evaluation the encoder was trained on.

    Attributes:
        queries: of those that ask.
        gallery: of those that are ranked.
        asked, ranked: how many these are.
    """

    queries: int
    gallery: int
    asked: int
    ranked: int


class _Sides(NamedTuple):
    gallery: RetrievalData
    ranked: Digests  # of the gallery's files
    cases: Sequence[Case]  # of the gallery
    asked: RetrievalData | None = None
    asking: Digests | None = None  # of the files that ask, where these are others
    failed: tuple[Failed, ...] = ()
    phantom: bool = False
    left_out: int = 0


class _Stored(NamedTuple):
    """What an archive holds, by path: two archives of the same photographs agree in order."""

    cases: list[Case]
    descriptors: NDArray[np.float32]
    digests: Digests
    encoder: Path
    fingerprint: str


def assess(
    folder: AnyPath,
    queries: Sequence[Case] | None = None,
    *,
    split: "SplitFiles | None" = None,
    label: str = "grade",
    ks: Sequence[int] = (1, 5, 10, 20, 50),
    exclude: Exclude = "subject",
    by: Sequence[str] = (),
    bootstrap: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> Assessment:
    """Evaluate retrieval from an archive.

    Args:
        folder: the archive; its cases are the gallery.
        queries: photographs that ask; None asks each case of the archive against the others.
        split: files that say which cases ask and which are ranked, and their grades; cases they
            do not name play no part.
        label: "grade", "findings" or a further column; equal values count as relevant,
            findings when at least one is shared.
        ks: ranks at which the metrics are taken.
        exclude: what of the query's own subject is left out of its ranking: "subject", "eye",
            "visit" or "none".
        by: columns of the queries by which the result is split, such as camera.
        bootstrap: resamples for the intervals, 0 for none.
        progress: called with the number of queries just encoded.

    Raises:
        ArchiveError: no archive, or it is empty.
        ImageError: none of the queries can be used.
        ManifestError: the split files name an image that the archive lacks, or another grade.
        FoveolaError: nothing is labelled.
        ValueError: both queries and a split are given.
    """
    folder = Path(folder)
    if queries is not None and split is not None:
        raise ValueError("give either queries or a split")
    stored = _stored(folder)
    if split is not None:
        sides = _split_sides(stored, split, label, by)
    elif queries is not None:
        sides = _asked_sides(folder, stored, queries, label, by, progress)
    else:
        gallery = RetrievalData.from_cases(stored.descriptors, stored.cases, label, by)
        sides = _Sides(gallery, stored.digests, stored.cases, phantom=_any_phantom(stored.cases))

    def judge(scores: LearnedScores | None = None) -> Evaluation:
        return evaluate_retrieval(
            sides.asked or sides.gallery,
            sides.gallery if sides.asked else None,
            ks=ks,
            exclude=exclude,
            bootstrap=bootstrap,
            scores=scores,
        )

    evaluation = judge()
    learned, refused = None, None
    try:
        learned = judge(_learned_scores(sides, label, stored.encoder))
    except TooFewError as error:
        refused = str(error)
    return Assessment(
        evaluation,
        sides.failed,
        sides.phantom,
        sides.gallery,
        sides.left_out,
        _trained(stored.encoder, sides),
        learned,
        refused,
    )


def _learned_scores(sides: _Sides, label: str, encoder: Path) -> LearnedScores:
    seen = Seen.load(encoder)
    known = None if seen is None else seen.among(sides.ranked)
    return scores_of(
        sides.gallery,
        LabelTable.of(label, [label_values(case, label) for case in sides.cases]),
        sides.asked,
        seen=known,
        prior=load_priors(encoder).get(label),
    )


def scores_of(
    gallery: RetrievalData,
    labels: LabelTable,
    asked: RetrievalData | None = None,
    *,
    seen: NDArray[np.bool_] | None = None,
    prior: Prior | None = None,
) -> LearnedScores:
    """Return scores by learned relevance, for `foveola.metrics.evaluate_retrieval`.

    Args:
        gallery: of N cases, which teach.
        labels: of the gallery.
        asked: the queries; None asks each case of the gallery against the others.
        seen: bool (N,), cases that the encoder was trained on.
        prior: the encoder's own classifier of this label.

    Raises:
        TooFewError: too few labels are known of people who do not ask.
    """
    if asked is None:
        people = codes_of(gallery.identities)
        return cross_fitted(gallery.descriptors, labels, people, seen=seen, prior=prior)
    both = codes_of([*gallery.identities, *asked.identities])
    people, asking = both[: len(gallery.identities)], both[len(gallery.identities) :]
    return fitted_to_gallery(asked.descriptors, asking, gallery.descriptors, labels, people, seen=seen, prior=prior)


def contrast(first: Assessment, second: Assessment) -> Difference:
    """Compute what the second archive's encoder reaches beyond the first's, query by query.

    Raises:
        FoveolaError: they were not asked the same queries in the same way.
    """
    try:
        return compare(first.evaluation, second.evaluation)
    except ValueError as error:
        raise FoveolaError(f"{error}; expected two archives of the same photographs with the same labels") from None


def _stored(folder: Path) -> _Stored:
    with Archive.open(folder, read_only=True) as archive:
        _, vectors = archive.vectors()
        cases = [case for _, case in archive.cases()]
        digests = list(archive.digests().values())
        encoder, fingerprint = archive.encoder_folder, archive.fingerprint
    if not cases:
        raise ArchiveError(f"{folder} is empty; index photographs into it first")
    order = sorted(range(len(cases)), key=lambda i: cases[i].path)
    return _Stored([cases[i] for i in order], vectors[order], [digests[i] for i in order], encoder, fingerprint)


def _trained(encoder: Path, sides: _Sides) -> Trained | None:
    seen = Seen.load(encoder)
    if seen is None:
        return None
    gallery = (sides.gallery, sides.ranked)
    asking = (sides.asked or sides.gallery, sides.asking or sides.ranked)
    known = [seen.among(of)[side.labels.any(axis=1)] for side, of in (asking, gallery)]
    return Trained(*(int(part.sum()) for part in known), *map(len, known))


def _split_sides(stored: _Stored, split: "SplitFiles", label: str, by: Sequence[str]) -> _Sides:
    from foveola.datasets.splits import GALLERY, QUERIES

    found = split.find(stored.cases)

    def of(parts: Sequence[str]) -> tuple[NDArray[np.float32], tuple[Case, ...], Digests]:
        places, cases = zip(*(pair for part in parts for pair in found[part]), strict=True)
        return stored.descriptors[list(places)], cases, [stored.digests[i] for i in places]

    (gallery, ranked, theirs), (queries, asked, own) = of(GALLERY), of(QUERIES)
    return _Sides(
        RetrievalData.from_cases(gallery, ranked, label, known_columns(ranked, by)),
        theirs,
        ranked,
        RetrievalData.from_cases(queries, asked, label, by),
        own,
        phantom=_any_phantom([*ranked, *asked]),
        left_out=len(stored.cases) - sum(map(len, found.values())),
    )


def _asked_sides(
    folder: Path,
    stored: _Stored,
    queries: Sequence[Case],
    label: str,
    by: Sequence[str],
    progress: Callable[[int], None] | None,
) -> _Sides:
    """Gallery and freshly encoded queries, and those that failed."""
    gallery = RetrievalData.from_cases(stored.descriptors, stored.cases, label, known_columns(stored.cases, by))
    encoder = Encoder.load(stored.encoder)
    if encoder.fingerprint != stored.fingerprint:
        raise ArchiveError(f"the encoder inside {folder} is not the one that made it")
    encoded, failed = _encode(encoder, queries, progress)
    if not encoded:
        first = f"; first: {failed[0].reason}" if failed else ""
        raise ImageError(f"none of the {len(queries)} queries can be used{first}")
    descriptors = np.stack([each.descriptor for each in encoded])
    side = RetrievalData.from_cases(descriptors, [each.case for each in encoded], label, by)
    return _Sides(
        gallery,
        stored.digests,
        stored.cases,
        side,
        [each.digest for each in encoded],
        failed,
        _any_phantom([*stored.cases, *queries]),
    )


def _any_phantom(cases: Sequence[Case]) -> bool:
    return any(case.extra.get("phantom") for case in cases)


def _encode(
    encoder: Encoder, queries: Sequence[Case], progress: Callable[[int], None] | None
) -> tuple[list[Encoded], tuple[Failed, ...]]:
    good: list[Encoded] = []
    failed: list[Failed] = []
    for result in encoder.encode_cases(queries):
        if isinstance(result, Encoded):
            good.append(result)
        else:
            failed.append(result)
        if progress:
            progress(1)
    return good, tuple(failed)
