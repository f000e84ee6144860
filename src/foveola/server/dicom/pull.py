"""Fetch from a PACS what it got since the last time: by QIDO-RS, or by Orthanc's list of changes.

What was dealt with is kept in a file beside the spool, so that a pull can be interrupted at any
moment and repeated: an object is fetched twice at worst, and indexed once.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Self

from foveola.errors import ArchiveError, EncoderError, FoveolaError, PacsError
from foveola.server.dicom.spool import replace_file
from foveola.server.dicom.web import Pacs, Reference

FORMAT = 1
CHANGES = 100  # asked for at a time
SAVE_SECONDS = 5.0  # what was fetched since is fetched again after a kill


@dataclass
class Point:
    """How far a PACS was read.

    Attributes:
        source: fingerprint of its address; another PACS starts anew.
        last: number of the last change, of Orthanc's list.
        studies: the instances of each study that were dealt with, by marks of their UIDs.
        counts: how many instances a study had when it was read to its end.
    """

    source: str
    last: int = 0
    studies: dict[str, set[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, source: str) -> Self:
        """Read the point that was kept; the beginning where there is none, or of another PACS.

        Raises:
            PacsError: the file can't be read.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT or values["source"] != source:
                return cls(source)
            studies = {uid: set(seen) for uid, seen in values["studies"].items()}
            return cls(source, int(values["last"]), studies, dict(values["counts"]))
        except FileNotFoundError:
            return cls(source)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise PacsError(
                f"{path} does not say how far the PACS was read; remove it to begin anew, what "
                "is in the archive is not indexed twice"
            ) from None

    def save(self, path: Path) -> None:
        """Keep it, wholly or not at all."""
        values = {
            "format": FORMAT,
            "source": self.source,
            "last": self.last,
            "counts": self.counts,
            "studies": {uid: sorted(seen) for uid, seen in self.studies.items()},
        }
        replace_file(path, json.dumps(values).encode())


class New(NamedTuple):
    """An instance that may not be in the archive yet.

    Attributes:
        fetch: gives its bytes.
        done: called when it is dealt with.
    """

    fetch: Callable[[], bytes]
    done: Callable[[], None]


def by_query(
    pacs: Pacs, point: Point, classes: Collection[str], *, days: int, modality: str | None = None
) -> Iterator[New]:
    """Find new instances of studies of the last days.

    A study is asked for its instances where their number has changed since it was read, or where
    the PACS does not say it.

    Args:
        pacs: where to look.
        point: how far it was read; changed.
        classes: SOP Class UIDs that are wanted.
        days: age of the oldest study; 0 takes all.
        modality: of which a study must have some, as OP.
    """
    filters = {"ModalitiesInStudy": modality} if modality else {}
    if days:
        filters["StudyDate"] = f"{date.today() - timedelta(days=days):%Y%m%d}-"
    found = list(pacs.studies(filters))
    for study in set(point.studies) - {_mark(uid) for uid, _ in found}:  # older than the days that are asked for
        del point.studies[study]
        point.counts.pop(study, None)
    for uid, count in found:
        study = _mark(uid)
        if count is not None and point.counts.get(study) == count:
            continue
        seen = point.studies.setdefault(study, set())
        for each in pacs.instances(uid):
            if _mark(each.instance) not in seen and _wanted(each.sop_class, classes):
                yield _retrieved(pacs, each, seen)
        if count is not None:
            point.counts[study] = count


def _retrieved(pacs: Pacs, each: Reference, seen: set[str]) -> New:
    return New(lambda: pacs.retrieve(each), lambda: seen.add(_mark(each.instance)))


def _mark(uid: str) -> str:
    """Stands for a UID of the PACS, which would lead to a patient."""
    return blake2b(uid.encode(), digest_size=12).hexdigest()


def by_changes(pacs: Pacs, point: Point, classes: Collection[str]) -> Iterator[New]:
    """Find new instances by Orthanc's list of changes, which misses nothing, however old its date."""
    newest = _changes(pacs, "last")
    if newest is None:
        raise PacsError(f"the PACS at {pacs.host} has no list of changes; use --feed qido")
    if point.last > int(newest["Last"]):  # an Orthanc that began anew counts anew
        point.last = 0
    while page := _changes(pacs, f"since={point.last}&limit={CHANGES}"):
        for number, id_ in _listed(pacs, page):
            if id_ is not None:
                yield from _changed(pacs, id_, classes)
            point.last = number
        if page["Done"] or not page["Changes"]:
            return


def _listed(pacs: Pacs, page: dict[str, Any]) -> list[tuple[int, str | None]]:
    """Numbers of changes, with the instance where one is new."""
    try:
        return [
            (int(change["Seq"]), change["ID"] if change["ChangeType"] == "NewInstance" else None)
            for change in page["Changes"]
        ]
    except (KeyError, TypeError, ValueError):
        raise PacsError(f"the list of changes of the PACS at {pacs.host} can't be read") from None


def _changed(pacs: Pacs, id_: str, classes: Collection[str]) -> Iterator[New]:
    address = f"{_orthanc_root(pacs)}/instances/{id_}"
    found = pacs.get_json(f"{address}/metadata?expand")
    if found is not None and _wanted(str(found.get("SopClassUid", "")), classes):
        yield New(lambda: pacs.get_bytes(f"{address}/file"), lambda: None)


def _changes(pacs: Pacs, asked: str) -> dict[str, Any] | None:
    found = pacs.get_json(f"{_orthanc_root(pacs)}/changes?{asked}")
    fits = isinstance(found, dict) and {"Changes", "Done", "Last"} <= set(found)
    return found if fits else None


def has_changes(pacs: Pacs) -> bool:
    """Return whether the PACS is an Orthanc that shows its list of changes."""
    try:
        return _changes(pacs, "last") is not None
    except PacsError:
        return False


def _orthanc_root(pacs: Pacs) -> str:
    """Where Orthanc's own interface lies: one level above its DICOMweb root."""
    return pacs.url.rpartition("/")[0]


def _wanted(sop_class: str, classes: Collection[str]) -> bool:
    """A PACS that does not say the class is asked for the object, which says it."""
    return not sop_class or sop_class in classes


@dataclass
class Pulled:
    """What a pull did.

    Attributes:
        added: objects that were indexed.
        known: objects that were in the archive already.
        refused: why objects could not be used, a sentence each.
        hardly_gradable: frames of the added that may be too dark or blurred to be graded.
    """

    added: int = 0
    known: int = 0
    refused: list[str] = field(default_factory=list)
    hardly_gradable: int = 0


def pull(new: Iterator[New], take: Callable[[bytes], bool], save: Callable[[], None]) -> Pulled:
    """Fetch and index what is new.

    Args:
        new: from `by_query` or `by_changes`.
        take: indexes an object and says whether it was new. ImageError means that it can't be
            used; anything else ends the pull, to be repeated.
        save: keeps the point; called every few seconds and at the end.

    Raises:
        PacsError: the PACS can't be reached or refuses.
        ArchiveError, EncoderError: the archive can't take it.
    """
    pulled, saved = Pulled(), time.monotonic()
    try:
        for each in new:
            try:
                new_here = take(each.fetch())
                pulled.added += new_here
                pulled.known += not new_here
            except (ArchiveError, EncoderError, PacsError):
                raise
            except FoveolaError as error:
                pulled.refused.append(str(error))
            each.done()
            if time.monotonic() - saved > SAVE_SECONDS:
                save()
                saved = time.monotonic()
    finally:
        save()
    return pulled
