"""Where traces of removed cases lie, and how each is counted and wiped.

A part is a generator: it yields what there is, by the names of a receipt, and wipes it when asked
to go on. Each can be run again at any time, and wipes what an interrupted run left.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from foveola import regions
from foveola.archive import Archive
from foveola.archive.database import ENCODER
from foveola.archive.removals import Removal
from foveola.learned import refresh
from foveola.matching import gallery
from foveola.matching.redact import forget_decisions, forget_uses
from foveola.server.dicom import PSEUDONYMS, STORE, place_of
from foveola.server.dicom.patients import is_pseudonym
from foveola.server.dicom.pseudonyms import Pseudonyms, forget_patient, held_of
from foveola.server.maintenance import photographs
from foveola.trust import Seen

Part = Callable[[Archive, Removal], Iterator[dict[str, int]]]


def _matching(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    paths = {case.path for case in removal.cases}
    yield {"matching": gallery.count_missing(archive.folder, paths)}
    gallery.forget_missing(archive.folder)


def _places(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"places": regions.count_missing(archive.folder, removal.ids)}
    regions.forget_missing(archive.folder)


def _files(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Delete what the archive owns; of a person everything inside it, and on request the rest."""
    folder, back = archive.folder, set(archive.paths().values())
    there = [
        path
        for case in removal.cases
        if (path := Path(case.path)).exists()
        and case.path not in back  # it was not added again meanwhile
        and place_of(folder) / STORE not in path.parents
    ]
    if removal.person is None:
        gone = [path for path in there if photographs.owns(folder, path)]
    else:
        inside = folder.resolve()
        gone = [p for p in there if removal.files or p.resolve().is_relative_to(inside)]
    yield {"photographs": len(gone), "left": len(there) - len(gone)}
    for path in gone:
        path.unlink(missing_ok=True)


def _learned(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {}
    if removal.learns:
        refresh(archive)


def _copies(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    own = removal.digests
    yield {"copies": sum(digest in own for digest in archive.digests().values())}


def _decisions(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    cases = removal.cases
    everyone = [*cases, *(case for _, case in archive.cases())]
    yield {"decisions": forget_decisions(archive.folder, cases, everyone, count_only=True)}
    forget_decisions(archive.folder, cases, everyone)


def _uses(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"uses": forget_uses(archive.folder, removal.digests, count_only=True)}
    forget_uses(archive.folder, removal.digests)


def _from_pacs(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Who they were in the PACS, and the de-identified files."""
    place, subject = place_of(archive.folder), removal.subject
    if not (place / PSEUDONYMS).exists() or subject is None or not is_pseudonym(subject):
        return
    with Pseudonyms(place / PSEUDONYMS) as names:
        held = held_of(place / STORE, names, subject)
        yield {"from the PACS": held.files + held.instances}
        forget_patient(place / STORE, names, subject)


def _marks(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Take photographs from those that an encoder here says it was trained on."""
    encoders = [archive.folder / ENCODER, archive.folder / gallery.FOLDER / ENCODER]
    marked = [(encoder, Seen.load(encoder)) for encoder in encoders]
    own = removal.digests
    counts = [0 if seen is None else int(seen.among(own).sum()) for _, seen in marked]
    yield {"marks of training": sum(counts)}
    for (encoder, seen), count in zip(marked, counts, strict=True):
        if seen is not None and count:
            seen.without(own).save(encoder)


# Of every removal, and what else goes of a person who is forgotten.
USED: tuple[Part, ...] = (_matching, _places, _files, _learned)
ELSEWHERE: tuple[Part, ...] = (_copies, _decisions, _uses, _from_pacs, _marks)
