"""How far a hit and an answer can be trusted, by the similarities of an archive's own photographs.

Some photographs of the archive are asked about as if they were new: their own person is left out.
What is then known of similarities and labels is kept in A/trust.json, a file of numbers without
names, and made again whenever the archive has changed. By it hits are judged, and the answer as a
whole; the picture itself by what the encoder knows.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola import files
from foveola.answers import HitTrust, Label, Looks, QueryTrust, Suggestion
from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.images.gradability import WARN_BELOW
from foveola.records import Case
from foveola.relevance.calibrate import BIN, Curve, percentile, read_curve
from foveola.trust.familiarity import SEEN, Familiarity, Seen
from foveola.trust.sample import REST, Sample, draw

TRUST = "trust.json"  # in the folder of an archive
FORMAT = 1
FALSE_REJECT = 0.01  # of the archive's own photographs
LEAST = 20  # people, below which nothing can be said
ALIKE = 0.998  # stands for what an archive can't say: docs/how-to/access.md, "That matching is off"
# Share of an archive's photographs that may lose a case of somebody else because it is so alike:
# where no eye is there twice, and at the most.
OTHERS = (0.1, 0.25)
_POINTS = 201  # of a distribution that is kept
POOR = 0.05  # gradability below which likeness says little
LEAST_PIXELS = 128  # pixels of the shorter side; of less no lesion can be told


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What similarities are worth in one archive.

    Attributes:
        fingerprint: of the encoder.
        cases: that the archive held when this was made.
        people: who were asked about.
        trained: share of these cases that the encoder was trained on; None where it does not say.
        new: whether it was trained on no photograph of the people who were asked about, so that
            what was learnt holds for a new photograph.
        label: that was compared; None where too few are known.
        nearest: quantiles, at equal steps, of the similarity to the nearest other person.
        same, other: quantiles of the similarity of pairs with the same label and with different
            ones, of different people; empty where fewer than BIN are known.
        own: quantiles of the similarity to the nearest other photograph of the same eye; empty
            where fewer than LEAST people have two.
        curves: the chance that a neighbour's label is the query's, by the neighbour's label; REST
            stands for every label that has no curve of its own.
    """

    fingerprint: str
    cases: int
    people: int
    label: Label | None
    nearest: tuple[float, ...]
    same: tuple[float, ...]
    other: tuple[float, ...]
    curves: Mapping[str, Curve]
    trained: float | None = None
    new: bool = True
    own: tuple[float, ...] = ()

    @property
    def alike(self) -> float:
        """Return the similarity from which on a photograph may well be another of the same eye.

        Where the archive holds eyes twice: as many of these pairs are less alike as there are
        photographs with somebody else's that is more alike. Without, and at the least: see OTHERS.
        """
        steps = np.linspace(0, 1, len(self.nearest))
        if not self.own:
            return float(np.interp(1 - OTHERS[0], steps, self.nearest))
        least = float(np.interp(1 - OTHERS[1], steps, self.nearest))
        crossing = np.array(self.own) >= np.array(self.nearest)[::-1]
        return max(least, self.own[int(crossing.argmax())]) if crossing.any() else least

    @property
    def threshold(self) -> float:
        """Return the similarity below which a case is not sufficiently alike."""
        return float(np.interp(FALSE_REJECT, np.linspace(0, 1, len(self.nearest)), self.nearest))

    def hit(self, similarity: float, case: Case) -> HitTrust:
        """Judge one hit."""
        key = None if self.label is None else label_of(case, self.label)
        curve = None if key is None else self.curves.get(key, self.curves.get(REST))
        return HitTrust(
            label=self.label,
            same=percentile(similarity, self.same) if self.same else None,
            other=percentile(similarity, self.other) if self.other else None,
            agreement=None if curve is None else curve.at(similarity),
            sufficient=similarity >= self.threshold,
        )

    def save(self, path: Path) -> None:
        """Write as JSON: wholly, or not at all."""
        try:
            files.write_json(path, {"format": FORMAT, **asdict(self)})
        except OSError as error:
            raise ArchiveError(f"{path} can't be written: {error.strerror}") from None


def label_values(case: Case, label: Label) -> frozenset[str] | None:
    """Return the values that a case has of a label; None where it is unknown."""
    if label == "grade":
        return None if case.grade is None else frozenset({str(case.grade)})
    if label == "findings":
        return case.findings
    value = case.extra.get(label)
    return None if value is None else frozenset({str(value)})


def label_of(case: Case, label: Label) -> str | None:
    """Return a case's label as a key: "2", "D;H", "" for none found; None where it is unknown."""
    values = label_values(case, label)
    return None if values is None else ";".join(sorted(values))


def calibrate(archive: Archive, *, queries: int = 1000, seed: int = 0) -> Calibration | None:
    """Ask an archive about its own photographs, and keep what was learnt beside it.

    Takes a second or two for 10,000 photographs, and its time grows with their number.

    Args:
        archive: opened; of one opened for reading only the calibration is not kept.
        queries: photographs asked about, at most one a person.
        seed: of their choice.

    Returns:
        None where the archive holds fewer than LEAST people; a calibration that was kept of it
        is removed then.

    Raises:
        ArchiveError: the folder can't be written.
    """
    with archive.state() as state:
        seen = Seen.load(archive.encoder_folder)
        trained = None if seen is None else seen.among(state.digests())
        sample = draw(state, queries, seed, trained)
    made = _fitted(archive, sample, trained) if sample.people >= LEAST else None
    path = archive.folder / TRUST
    if archive.read_only:
        return made
    if made is None:
        path.unlink(missing_ok=True)
    else:
        made.save(path)
    return made


def refresh(archive: Archive, *, changed: bool = True) -> None:
    """Make the calibration anew where the archive has changed, or none of this size is kept.

    Likewise where the encoder says what it was trained on, and did not then.
    """
    kept = None
    with contextlib.suppress(ArchiveError):  # what is damaged is made anew
        kept = None if changed else load(archive)
    says = (archive.encoder_folder / SEEN).exists()
    if kept is None or kept.cases != len(archive) or (says and kept.trained is None):
        calibrate(archive)


def is_missing(archive: Archive) -> bool:
    """Return whether nothing is kept of an archive that has people enough, as its file was lost, say."""
    if len(archive) < LEAST or (archive.folder / TRUST).exists():
        return False
    with archive.state() as state:
        return len(np.unique(state.people())) >= LEAST


def load(archive: Archive) -> Calibration | None:
    """Read what was kept of an archive; None where nothing was, or not of this encoder.

    Raises:
        ArchiveError: it is damaged.
    """
    try:
        values = files.read_json(archive.folder / TRUST)
        if values.pop("format") != FORMAT or values["fingerprint"] != archive.fingerprint:
            return None
        return _read(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveError(
            f"{archive.folder / TRUST} is damaged, and without it nobody can say how far to trust "
            f"an answer; make it anew with: foveola learn {archive.folder}"
        ) from None


def _read(values: dict[str, Any]) -> Calibration:
    read = {key: read_curve(curve) for key, curve in values.pop("curves").items()}
    curves = {key: curve for key, curve in read.items() if curve is not None}
    lines = {name: tuple(map(float, values.pop(name))) for name in ("nearest", "same", "other")}
    lines["own"] = tuple(map(float, values.pop("own", ())))  # archives from before have none
    made: dict[str, Any] = values | lines | {"curves": curves}
    return Calibration(**made)


def _fitted(archive: Archive, sample: Sample, trained: NDArray[np.bool_] | None) -> Calibration:
    return Calibration(
        fingerprint=archive.fingerprint,
        cases=sample.cases,
        people=sample.people,
        label=sample.label,
        nearest=_quantiles(sample.nearest),
        same=_quantiles(sample.same) if len(sample.same) >= BIN else (),
        other=_quantiles(sample.other) if len(sample.other) >= BIN else (),
        curves=sample.curves(),
        trained=None if trained is None else float(trained.mean()),
        new=sample.new,
        own=_quantiles(sample.own) if len(sample.own) >= LEAST else (),
    )


def _quantiles(values: NDArray[np.float32]) -> tuple[float, ...]:
    line = np.quantile(values.astype(np.float64), np.linspace(0, 1, _POINTS))
    return tuple(np.round(line, 6).tolist())


def judge_picture(
    known: Familiarity | None,
    pooled: NDArray[np.float32],
    gradability: float,
    camera: str | None = None,
    side: int = LEAST_PIXELS,
) -> Looks:
    """Judge whether a picture is a photograph of the retina, and good enough to be compared.

    Args:
        known: of the encoder, where it has one.
        pooled: (C,) what the encoder made of the picture.
        gradability: see `foveola.images.gradability`; 0 says that no field in colour was found.
        camera: that took it, where the archive has no photograph of that one.
        side: pixels of its shorter side, as decoded.
    """
    unlike = None if known is None else known.unlike(pooled)
    foreign = gradability == 0
    if known is not None and unlike is not None:
        foreign |= known.foreign(pooled, unlike, doubtful=gradability < WARN_BELOW)
    return Looks(unlike, foreign, poor=gradability < POOR or side < LEAST_PIXELS, camera=camera)


def is_far(known: Calibration | None, nearest: float | None) -> bool:
    """Return whether a nearest case is not sufficiently similar; None is no case at all."""
    return nearest is None or (known is not None and nearest < known.threshold)


def judge_answer(
    known: Calibration | None,
    looks: Looks,
    nearest: float | None,
    suggestion: Suggestion | None,
    anywhere: float | None = None,
) -> QueryTrust:
    """Judge how far to trust an answer.

    Args:
        known: of the archive; None where it has too few people.
        looks: of the query.
        nearest: similarity to the nearest case considered; None where there was none.
        suggestion: what the archive learnt suggests of the query, if anything.
        anywhere: similarity to the nearest case of the archive, where a condition let only some be
            considered: what the archive suggests does not depend on that condition.
    """
    sufficient = looks.comparable and not is_far(known, nearest)
    told = sufficient or (looks.comparable and not is_far(known, anywhere))
    return QueryTrust(
        suggestion=suggestion if told else None,
        nearest=None if known is None or nearest is None else percentile(nearest, known.nearest),
        threshold=None if known is None else known.threshold,
        false_reject=FALSE_REJECT,
        sufficient=sufficient,
        looks=looks,
        trained=None if known is None or known.new else known.trained,
    )


def judge_hit(known: Calibration | None, answer: QueryTrust, similarity: float, case: Case) -> HitTrust | None:
    """Judge how far to trust one hit; of an answer that is not sufficient nothing is told."""
    if known is None and answer.suggestion is None:
        return None
    judged = HitTrust(None, None, None, None, True) if known is None else known.hit(similarity, case)
    if not answer.sufficient:
        return replace(judged, same=None, other=None, agreement=None)
    if answer.suggestion is None:
        return judged
    label = answer.suggestion.label
    values = label_values(case, label)
    chance = None if values is None else answer.suggestion.of(values)
    if judged.label != label:  # pairs were compared by another one
        judged = replace(judged, same=None, other=None)
    return replace(judged, label=label, agreement=chance)
