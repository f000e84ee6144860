"""What is said of a person's eyes, and what is shown of it: where findings come from in them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola import answers
from foveola.answers import LocalEye, ReadAnswer, Show, local_case
from foveola.errors import FoveolaError
from foveola.images.decode import Photograph, as_file, decode
from foveola.images.fundus import Contract, prepare
from foveola.images.pictures import jpeg, overlay, shares
from foveola.labels import NO_DIAGNOSIS, finding_word
from foveola.looks import left_out
from foveola.notebook import Picture, Rows, aligned, html_lines, html_table, to_frame
from foveola.people import NORMAL
from foveola.people_search import PersonHit
from foveola.records import Eye

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("label", "finding", "probability", "threshold", "found")
PICTURED = 3  # findings, of those above their thresholds

_FIELD = Contract(size=512)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class EyeReading:
    """What is said of one eye.

    Attributes:
        image: name of the file.
        path: of the file; of what has none, as bytes, which eye it is.
        probabilities: (L,), of this eye by itself.
        evidence: (L, h, w) what each position adds to the label's logit.
        gradability: the chance that the photograph can be graded, 0 to 1.
        doubt: what is to be known of the photograph, to follow its name; None if all is well.
    """

    image: str = field(repr=False)
    path: Path = field(repr=False)
    probabilities: NDArray[np.float32]
    evidence: NDArray[np.float32]
    gradability: float
    doubt: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """What is said of one person.

    Attributes:
        labels: L names.
        probabilities: (L,), of the person by both eyes; of one alone as `encoders.reader.ReadingOutput`.
        thresholds: (L,), above which a label counts as found.
        eyes: of each eye that was read.
        feature: (F,), the fused feature.
        reader: name of the reader.
        fingerprint: of the reader.
        milliseconds: from reading the files to the probabilities.
        refused: why nothing is said of an eye that was given; no retina is seen in its photograph.
        sides: that the two seem to be exchanged.
        photographs: of each eye as they were given, to be shown in a notebook; else none.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    thresholds: tuple[float, ...]
    eyes: Mapping[Eye, EyeReading]
    feature: NDArray[np.float32]
    reader: str
    fingerprint: str
    milliseconds: float
    refused: Mapping[Eye, str] = field(default_factory=dict)
    sides: tuple[str, ...] = ()
    photographs: Mapping[Eye, Photograph] = field(default_factory=dict)

    @property
    def found(self) -> tuple[str, ...]:
        """Return the labels above their thresholds."""
        at = zip(self.labels, self.probabilities, self.thresholds, strict=True)
        return tuple(label for label, p, threshold in at if p > threshold)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say what a user must know before trusting it; empty where there is nothing."""
        said = [*left_out(self.refused), *self.sides]
        if len(self.eyes) == 1:
            only = next(iter(self.eyes))
            how = "read" if self.refused else "given"
            said.append(
                f"only the {only} eye was {how}, so this says nothing of the other and is less sure than with both"
            )
        for eye, of in self.eyes.items():
            if of.doubt is not None:
                said.append(f"the photograph of the {eye} eye {of.doubt}")
        both = NORMAL in self.found and len(self.found) > 1
        if both:
            said.append("normal and a finding are both above their thresholds; look closely")
        return tuple(said)

    def answer(
        self, similar: Sequence[PersonHit] = (), missing: str | None = None, show: Show = local_case
    ) -> ReadAnswer:
        """Return what is answered.

        Args:
            similar: people of an archive, the most similar first.
            missing: why there are none, where the archive can't say.
            show: makes of an id and a record what is shown of a case; names no file of an eye
                either, unless it shows cases with theirs.
        """
        eyes: dict[Eye, answers.EyeReading] = {}
        for eye, of in self.eyes.items():
            said = answers.EyeReading(self._by_label(of.probabilities), of.gradability)
            eyes[eye] = LocalEye.from_object(said, image=of.image) if show is local_case else said
        return ReadAnswer.from_object(
            self,
            probabilities=self._by_label(self.probabilities),
            thresholds=self._by_label(self.thresholds),
            eyes=eyes,
            similar=tuple(hit.answer(show) for hit in similar),
            similar_missing=missing,
            note=NO_DIAGNOSIS,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as `foveola read --json` prints them; with names of files."""
        return self.answer().to_dict()

    def _by_label(self, values: Iterable[float]) -> dict[str, float]:
        return {label: float(value) for label, value in zip(self.labels, values, strict=True)}

    def to_frame(self) -> "DataFrame":
        """Return a DataFrame with a row for each label: its name, probability and threshold.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return to_frame((dict(zip(COLUMNS, row, strict=True)) for row in self._rows()), COLUMNS)

    def __repr__(self) -> str:
        return "\n".join([aligned(self._table()), "", NO_DIAGNOSIS, *self.warnings])

    def _repr_html_(self) -> str:
        images: list[list[object]] = []
        with suppress(FoveolaError, OSError):  # a file that is not there any more is not shown
            shown = {eye: decode(as_file(of).data) for eye, of in self.photographs.items()}
            made = pictures(self, shown or None)
            images = [["", *made.photographs]]
            named = {"photograph": made.photographs} | made.evidence
            images += [[finding_word(n), *map(Picture, of.values())] for n, of in named.items()]
        table = html_table(images) if images else ""
        return html_table(self._table()) + html_lines([NO_DIAGNOSIS, *self.warnings]) + table

    def _rows(self) -> Iterator[tuple[str, str, float, float, bool]]:
        for label, p, threshold in zip(self.labels, self.probabilities.tolist(), self.thresholds, strict=True):
            yield label, finding_word(label), p, threshold, p > threshold

    def _table(self) -> Rows:
        """Likeliest first."""
        rows = sorted(self._rows(), key=lambda row: -row[2])
        cells = [[word, f"{p:.3f}", f"{t:.3f}", "found" * f] for _, word, p, t, f in rows]
        return [["finding", "probability", "threshold", ""], *cells]


class Pictures(NamedTuple):
    """JPEG files of each eye that was given.

    Attributes:
        photographs: its field of view.
        evidence: of each label that is shown, what speaks for it.
    """

    photographs: dict[Eye, bytes]
    evidence: dict[str, dict[Eye, bytes]]


def pictures(reading: Reading, photographs: Mapping[Eye, Pixels] | None = None) -> Pictures:
    """Show the field of view of each eye, and where the likeliest findings come from in it.

    Both eyes of a finding are on one scale. Where nothing is above its threshold the likeliest
    finding is shown; normal never is, as nothing in particular speaks for it.

    Args:
        reading: of one person.
        photographs: (H, W, 3) uint8 of each eye; None reads them from the reading's files.
    """
    if photographs is None:
        photographs = {eye: decode(of.path) for eye, of in reading.eyes.items()}
    squares = {eye: prepare(photographs[eye], _FIELD) for eye in reading.eyes}
    order = sorted(zip(reading.probabilities, reading.labels, strict=True), reverse=True)
    names = [label for _, label in order if label != NORMAL]
    shown = [label for label in names if label in reading.found][:PICTURED] or names[:1]
    return Pictures(
        {eye: jpeg(square) for eye, square in squares.items()},
        {label: _evidence(reading, label, squares) for label in shown},
    )


def _evidence(reading: Reading, label: str, squares: Mapping[Eye, Pixels]) -> dict[Eye, bytes]:
    at = reading.labels.index(label)
    maps = {eye: of.evidence[at] for eye, of in reading.eyes.items()}
    most = max(0.0, *(float(values.max()) for values in maps.values()))
    return {eye: jpeg(overlay(squares[eye], shares(values, most))) for eye, values in maps.items()}
