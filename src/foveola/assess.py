"""How well an archive answers: its cases as queries, or those of another manifest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveola.archive import Archive
from foveola.cases import Case
from foveola.encoders.encoder import Encoded, Encoder, Failed
from foveola.errors import ArchiveError, FoveolaError, ImageError
from foveola.evaluation import Difference, Evaluation, Exclude, Side, difference, evaluate


@dataclass(frozen=True)
class Assessment:
    """An evaluation, and the queries that could not be asked.

    Attributes:
        evaluation: the numbers.
        failed: queries whose file can't be used.
        phantom: whether any photograph of either side is a phantom.
    """

    evaluation: Evaluation
    failed: tuple[Failed, ...]
    phantom: bool


def assess(
    folder: Path,
    queries: Sequence[Case] | None = None,
    *,
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
        FoveolaError: nothing is labelled.
    """
    gallery, asked, failed, phantom = _sides(folder, queries, label, by, progress)
    evaluation = evaluate(
        asked or gallery,
        gallery if asked else None,
        ks=ks,
        exclude=exclude,
        bootstrap=bootstrap,
    )
    return Assessment(evaluation, failed, phantom)


def contrast(first: Assessment, second: Assessment) -> Difference:
    """What the second archive's encoder reaches beyond the first's, query by query.

    Raises:
        FoveolaError: they were not asked the same queries in the same way.
    """
    try:
        return difference(first.evaluation, second.evaluation)
    except ValueError as error:
        raise FoveolaError(
            f"{error}; expected two archives of the same photographs with the same labels"
        ) from None


def _sides(
    folder: Path,
    queries: Sequence[Case] | None,
    label: str,
    by: Sequence[str],
    progress: Callable[[int], None] | None,
) -> tuple[Side, Side | None, tuple[Failed, ...], bool]:
    """Gallery, queries if there are any, those that failed, and whether phantoms are in it."""
    with Archive.open(folder, read_only=True) as archive:
        _, vectors = archive.vectors()
        cases = [case for _, case in archive.cases()]
        encoder_folder, fingerprint = archive.encoder_folder, archive.fingerprint
    if not cases:
        raise ArchiveError(f"{folder} is empty; index photographs into it first")
    # by path, so that two archives of the same photographs ask and rank them in the same order
    order = sorted(range(len(cases)), key=lambda i: cases[i].path)
    cases = [cases[i] for i in order]
    phantom = any(case.extra.get("phantom") for case in [*cases, *(queries or ())])
    gallery = Side.from_cases(vectors[order], cases, label, () if queries else by)
    if queries is None:
        return gallery, None, (), phantom
    encoder = Encoder.load(encoder_folder)
    if encoder.fingerprint != fingerprint:
        raise ArchiveError(f"the encoder inside {folder} is not the one that made it")
    asked, descriptors, failed = _encode(encoder, queries, progress)
    if not asked:
        first = f"; first: {failed[0].reason}" if failed else ""
        raise ImageError(f"none of the {len(queries)} queries can be used{first}")
    return gallery, Side.from_cases(descriptors, asked, label, by), failed, phantom


def _encode(
    encoder: Encoder, queries: Sequence[Case], progress: Callable[[int], None] | None
) -> tuple[list[Case], "np.ndarray[tuple[int, int], np.dtype[np.float32]]", tuple[Failed, ...]]:
    good: list[Encoded] = []
    failed: list[Failed] = []
    for result in encoder.encode_cases(queries):
        if isinstance(result, Encoded):
            good.append(result)
        else:
            failed.append(result)
        if progress:
            progress(1)
    rows = [result.descriptor for result in good]
    matrix = np.stack(rows) if rows else np.empty((0, encoder.dimension), np.float32)
    return [result.case for result in good], matrix, tuple(failed)
