"""Image in, similar cases out. Every front door uses `Retriever`; a researcher opens an `Archive`.

    archive = Archive.open("archive/")
    archive.search("fundus.jpg", k=5, where="grade >= 2")

`Archive` is a `Retriever`, and so the archive and its own encoder. The class of that name in
`foveola.archive` keeps cases on the disk: it lies on a floor below, where no photograph can be
encoded, and is what programs write with.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Order, Suggestion
from foveola.archive import Archive as StoredArchive
from foveola.archive import ArchiveInfo
from foveola.archive.state import State
from foveola.encoders.compiling import WAITED_FOR
from foveola.encoders.encoder import Encoder
from foveola.errors import NoCaseError
from foveola.images.decode import Photograph, as_file, decode, naming, stated
from foveola.images.fingerprint import mark
from foveola.laterality import Side, Sides, check_eye, check_sides, shipped_sides
from foveola.learned import Ranker
from foveola.looks import Looker, refused
from foveola.people import EYES
from foveola.people_search import PeopleSearch, PersonResult
from foveola.records import Case, Eye, known_identifier
from foveola.relevance.order import Asked
from foveola.resources import AnyPath, Closing
from foveola.retrieval.results import Hit, Marks, Query, SearchResult, check_person, check_two, moved
from foveola.trust import ALIKE, TRUST, Calibration, is_far, judge_answer, judge_hit, load
from foveola.trust.calibration import label_values
from foveola.trust.sentences import of_doubt

_NONE = Marks()
CAMERA = "camera"  # the column that `foveola.server.dicom` fills from the headers
MOST_CAMERAS = 10_000
_SENT = "sent:"  # begins the path of a photograph that came without one


class Retriever(Closing):
    """An archive together with its encoder. A context manager.

    Args:
        archive: opened; closed with the retriever.
        encoder: the archive's own.

    Attributes:
        doubts_subjects: whether whose photograph it is said to be is not heard at the moment; a
            service sets it, as any name would do to find who is so alike (`too_alike`), and what
            a name leaves out tells whose it is.
    """

    def __init__(self, archive: StoredArchive, encoder: Encoder) -> None:
        self.archive = archive
        self.encoder = encoder
        self._people = PeopleSearch(archive)
        self._ranker = Ranker(archive)
        self._calibration: tuple[int | None, Calibration | None] = (None, None)
        self.doubts_subjects: Callable[[], bool] = lambda: False
        self.looker = Looker(encoder)

    @classmethod
    def open(cls, folder: AnyPath, encoder: str | Path | Encoder | None = None) -> Self:
        """Open an archive for searching, beside any process that adds to it.

        Args:
            folder: the archive.
            encoder: name or folder of an encoder, or one that is loaded, as a `FunctionEncoder`;
                None takes the copy inside the archive.

        Raises:
            ArchiveError: there is no archive, or another encoder made it.
            EncoderError: the encoder can't be used.
        """
        folder = Path(folder)
        archive = StoredArchive.open(folder, read_only=True)
        try:
            if isinstance(encoder, Encoder):
                loaded = encoder
            else:
                loaded = Encoder.load(encoder or archive.encoder_folder, together=WAITED_FOR)
            if loaded.fingerprint != archive.fingerprint:
                StoredArchive.open(folder, fingerprint=loaded.fingerprint, read_only=True)  # raises
        except BaseException:
            archive.close()
            raise
        return cls(archive, loaded)

    def warm(self) -> None:
        """Load what the first search would wait for: the encoder, and every descriptor.

        Raises:
            EncoderError: the encoder can't be run.
            ArchiveError: the archive can't be read.
        """
        self.archive.vectors()
        self._ranker.warm()
        self.encoder.wait()

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def labels(self) -> tuple[str, ...]:
        """Return the labels that the archive learnt and can be searched by; what most cases have comes first."""
        learned = self._ranker.learned()
        return () if learned is None else tuple(learned.labels)

    def search(
        self,
        image: Photograph,
        k: int = 10,
        *,
        where: str | None = None,
        subject: str | None = None,
        collection: str = "",
        eye: Eye | None = None,
        same_subject: bool = False,
        by: Order | None = None,
        label: str | None = None,
    ) -> SearchResult:
        """Find the cases most like a photograph.

        A photograph that the archive holds itself, under any name, is never its own hit, and
        brings its subject and eye with it (the subject alone where `doubts_subjects`). Where it is
        not known whose it is, cases so alike that they may show the same eye (`Calibration.alike`)
        are left out as its subject's.

        Args:
            image: the query: the path of a file, text or Path; the bytes of one; or pixels,
                (H, W, 3) uint8 RGB upright or a PIL image, in which the archive can't know its own
                file again.
            k: number of hits wanted.
            where: condition on the cases, see docs/reference/archive.md.
            subject: pseudonym of the query's subject, whose images are left out.
            collection: name space of that pseudonym.
            eye: of the query, where it is known.
            same_subject: let the query's own subject be found too.
            by: the order: "learned" from the archive's labels, "looks" for the cosine alone, or
                "both" in equal parts; None is "learned" where the archive learnt something.
            label: that is learnt of; None is the one that most cases have.

        Raises:
            ImageError: the file is no photograph that can be used.
            FilterError: the condition can't be understood.
            ArchiveError: the archive has not learnt what is asked for.
            ValueError, TypeError: the image, or another argument, is something else, or the archive
                was closed.
        """
        start = time.perf_counter()
        query = self._ask(image, subject, collection, eye)
        found = self.search_query(query, k, where=where, same_subject=same_subject, by=by, label=label)
        return replace(found, milliseconds=(time.perf_counter() - start) * 1000)

    def embed(
        self,
        data: bytes,
        name: str,
        *,
        path: str | None = None,
        subject: str | None = None,
        collection: str = "",
        eye: Eye | None = None,
        pixels: NDArray[np.uint8] | None = None,
        sides: Sides | None = None,
    ) -> Query:
        """Read and encode a photograph, known again where the archive holds the file.

        Args:
            data: the file.
            name: of the file, for messages and pages.
            path: of the file; None where it has none, as what was sent over a network.
            subject: pseudonym of its subject; nobody's where `doubts_subjects`.
            collection: name space of that pseudonym.
            eye: which it shows, where that is known; a DICOM image may say so itself.
            pixels: (H, W, 3) uint8 RGB of the file, where it was decoded already with a min_side
                that gives the same as the encoder's (`same_scale`).
            sides: tells which eye it shows, where it is one of two.

        Raises:
            ImageError: it is no photograph that can be used.
        """
        if eye is not None and eye not in EYES:
            raise ValueError(f"expected the eye as 'left' or 'right', got {eye!r}")
        says = stated(data)
        eye = eye or says.eye
        digest = blake2b(data, digest_size=16).digest()
        known = self.archive.find(digest=digest)
        given = Case(
            image=name,
            path=f"{_SENT}{digest.hex()}" if path is None else path,
            subject=known_identifier(subject),
            collection=collection,
            eye=eye,
        )
        case = _merge(given, known[1] if known else None, doubted=self.doubts_subjects())
        if eye is not None and not (known and known[1].eye == eye):  # the archive knows better
            check_eye(says.eye, eye, name)
        if pixels is None:
            pixels = decode(data, min_side=self.encoder.contract.min_side, name=name)
        with naming(name):
            seen, looks = self.looker.look(pixels, case.eye or eye, self._unknown(says.camera))
            side = sides and sides.of(pixels)
        if side and known and known[1].eye and not self.doubts_subjects():
            side = Side(known[1].eye, 1.0)
        return Query(
            case,
            known[0] if known else None,
            digest,
            seen.descriptor,
            seen.gradability,
            looks,
            mark(seen.prepared),
            side,
        )

    def _unknown(self, camera: str | None) -> str | None:
        """A camera of which an archive that records cameras has no photograph."""
        if camera is None:
            return None
        known = self.archive.values(CAMERA, most=MOST_CAMERAS)
        return camera if known and camera not in known else None

    def search_query(
        self,
        query: Query,
        k: int = 10,
        *,
        where: str | None = None,
        same_subject: bool = False,
        marks: Marks = _NONE,
        by: Order | None = None,
        label: str | None = None,
    ) -> SearchResult:
        """Find the cases most like a photograph that was read; see `search`.

        Args:
            query: from `embed`.
            k: number of hits wanted.
            where: condition on the cases, see docs/reference/archive.md.
            same_subject: let the query's own subject be found too.
            by: the order, see `search`; a picture that can't be compared, or to which no case of
                the archive is sufficiently similar, is answered by looks.
            label: that is learnt of, see `search`.
            marks: cases of the archive to be more like and less like; they are left out. What a
                similarity to a query so moved is worth is not known, so hits carry no trust.

        Raises:
            NoCaseError: a marked case is not in the archive.
            FilterError: the condition can't be understood.
            ArchiveError: the archive has not learnt what is asked for.
        """
        start = time.perf_counter()
        marked = marks.plain
        order, relevance = self._ranker.choose(by, label)
        order = order if query.looks.comparable else "looks"
        descriptor = self._moved(query.descriptor, marked) if any(marked) else query.descriptor
        of = (descriptor, query.id, query.case.identity)
        suggested: Suggestion | None = None
        anywhere: float | None = None  # similarity to the nearest case, whatever the condition
        least = self.too_alike([query], same_subject=same_subject)

        def asked(state: State) -> Asked | None:
            nonlocal suggested, anywhere
            if relevance is None or not query.looks.comparable:
                return None
            if not any(marked):
                suggested = self._ranker.suggestion(state, relevance, *of)
                if where is not None:
                    anywhere = _nearest(state, query, least, same_subject=same_subject)
            return self._ranker.asked(state, relevance, order, *of)

        find = partial(
            self.archive.search,
            descriptor,
            k,
            where=where,
            exclude_identity=None if same_subject else query.case.identity,
            exclude_ids=[*marks.all, *([] if query.id is None else [query.id])],
            exclude_alike=None if least is None else (query.descriptor, least),
        )
        found = find(asked=asked)
        known = None if any(marked) else self._known()
        nearest = found.nearest if where is None else anywhere
        if order != "looks" and not any(marked) and is_far(known, nearest):
            order, found = "looks", find()  # what was learnt of others says nothing of it
        trust = judge_answer(known, query.looks, found.nearest, suggested, anywhere)
        on = None if relevance is None else relevance.label
        columns = (found.ids.tolist(), found.similarities.tolist(), found.scores.tolist(), found.cases)
        return SearchResult(
            query=query.case,
            in_archive=query.id is not None,
            hits=tuple(
                Hit(rank, similarity, score, case, id_, judge_hit(known, trust, similarity, case))
                for rank, (id_, similarity, score, case) in enumerate(zip(*columns, strict=True), start=1)
            ),
            excluded_same_subject=found.excluded_same_subject,
            considered=found.considered,
            order=order,
            label=on,
            recorded=None if on is None else sum(label_values(c, on) is not None for c in found.cases),
            where=where,
            encoder=self.encoder.name,
            fingerprint=self.encoder.fingerprint,
            milliseconds=(time.perf_counter() - start) * 1000,
            gradability=query.gradability,
            trust=trust,
        )

    def too_alike(self, asked: Collection[Query], *, same_subject: bool) -> float | None:
        """Return the cosine from which on a case is left out, as it may show the same eye as one of these.

        None leaves nobody out: it is known whose photographs they are, or the same subject shall
        be found.
        """
        people = {one.case.identity for one in asked if one.case.subject is not None}
        known = bool(people)
        if self.doubts_subjects():  # only the archive is believed, of all of them
            known = len(people) == 1 and all(one.id is not None for one in asked)
        if same_subject or known:
            return None
        calibration = self._known()
        return ALIKE if calibration is None else calibration.alike

    def _moved(self, descriptor: NDArray[np.float32], marks: Marks) -> NDArray[np.float32]:
        ids, matrix = self.archive.vectors()
        wanted = [np.array(some, np.int64) for some in marks]
        gone = set(np.concatenate(wanted).tolist()) - set(ids.tolist())
        if gone:
            raise NoCaseError(f"the archive has no case with the id {min(gone)}")
        return moved(descriptor, *(matrix[np.searchsorted(ids, some)] for some in wanted))

    def search_person(
        self,
        left: Photograph | None,
        right: Photograph | None,
        k: int = 10,
        *,
        where: str | None = None,
        subject: str | None = None,
        collection: str = "",
        same_subject: bool = False,
    ) -> PersonResult:
        """Find the people most like a person; a person is a subject at one visit.

        How two people are compared is told in docs/how-to/patient-search.md. A visit that the archive
        holds itself is never its own hit, and brings its subject with it.

        Args:
            left: photograph of the left eye, as in `search`; None where there is none.
            right: of the right eye, likewise; one of the two is needed.
            k: number of hits wanted.
            where: condition that a photograph of either eye must meet, see docs/reference/archive.md.
            subject: pseudonym of the query's subject, whose visits are left out.
            collection: name space of that pseudonym.
            same_subject: let other visits of the query's own subject be found too.

        Raises:
            ImageError: a file is no photograph that can be used, none shows a retina, both are
                one picture or surely of one side, or the archive says that the two are not the left
                and the right eye of one person.
            ArchiveError: the archive does not know which photographs are whose.
            FilterError: the condition can't be understood.
        """
        start = time.perf_counter()
        eyes: dict[Eye, Photograph | None] = {"left": left, "right": right}
        given = {eye: image for eye, image in eyes.items() if image is not None}
        sides = shipped_sides() if len(given) == len(EYES) else None
        asked = {eye: self._ask(image, subject, collection, eye, sides) for eye, image in given.items()}
        found = self.search_person_query(asked, k, where=where, same_subject=same_subject)
        return replace(found, milliseconds=(time.perf_counter() - start) * 1000)

    def search_person_query(
        self, asked: Mapping[Eye, Query], k: int = 10, *, where: str | None = None, same_subject: bool = False
    ) -> PersonResult:
        """Find the people most like a person whose photographs were read; see `search_person`.

        Of two photographs of which one shows no retina, or too little of it, the other is compared
        alone.

        Args:
            asked: the photograph of each eye there is, from `embed`.
            k: number of hits wanted.
            where: condition that a photograph of either eye must meet.
            same_subject: let other visits of the query's own subject be found too.
        """
        start = time.perf_counter()
        if not asked:
            raise ValueError("expected a photograph of the left eye, the right eye, or both")
        if len(asked) == len(EYES):
            check_two(*asked.values())  # first, as exchanging these two would not mend it
        if not self.doubts_subjects():
            check_person(asked)
        why = refused({eye: one.looks for eye, one in asked.items()})
        exchanged = check_sides({eye: one.side for eye, one in asked.items() if eye not in why})
        ids = [one.id for one in asked.values() if one.id is not None]
        first = min(asked.values(), key=lambda one: (one.case.subject is None, one.id is None)).case
        found = self._people.search(
            {eye: one.descriptor for eye, one in asked.items() if eye not in why},
            k,
            where=where,
            exclude_identity=None if same_subject else first.identity,
            exclude_ids=ids,
            alike=self.too_alike(asked.values(), same_subject=same_subject),
        )
        return PersonResult(
            query={eye: one.case for eye, one in asked.items()},
            in_archive=tuple(eye for eye, one in asked.items() if one.id is not None),
            hits=found.hits,
            excluded_same_subject=found.excluded_same_subject,
            considered=found.considered,
            unassigned=found.unassigned,
            where=where,
            encoder=self.encoder.name,
            fingerprint=self.encoder.fingerprint,
            milliseconds=(time.perf_counter() - start) * 1000,
            gradability={eye: one.gradability for eye, one in asked.items()},
            refused=why,
            sides=exchanged,
            doubts={
                eye: doubt for eye, one in asked.items() if (doubt := of_doubt(one.looks, one.gradability)) is not None
            },
        )

    def _known(self) -> Calibration | None:
        """What the archive's similarities are worth, read again when that was learnt anew."""
        try:
            stamp: int | None = (self.archive.folder / TRUST).stat().st_mtime_ns
        except OSError:
            stamp = None
        if stamp is None or stamp != self._calibration[0]:
            self._calibration = stamp, load(self.archive)
        return self._calibration[1]

    def _ask(
        self, image: Photograph, subject: str | None, collection: str, eye: Eye | None, sides: Sides | None = None
    ) -> Query:
        data, name, path = as_file(image)
        return self.embed(data, name, path=path, subject=subject, collection=collection, eye=eye, sides=sides)


class Archive(Retriever):
    """An archive opened for searching, with its own encoder. A context manager.

    Made by `open`; `foveola.add_missing` makes a new archive and adds to one.
    """

    def __len__(self) -> int:
        return len(self.archive)

    def __repr__(self) -> str:
        return f"Archive of {len(self):,} cases by the encoder {self.encoder.name}"

    def cases(self) -> list[Case]:
        """Return the N cases, in order of addition."""
        return [case for _, case in self.archive.cases()]

    def vectors(self) -> NDArray[np.float32]:
        """Return the descriptors, float32 (N, D) of unit length, row i of case i; read-only."""
        return self.archive.vectors()[1]

    def info(self) -> ArchiveInfo:
        """Return what the archive holds, in numbers."""
        return replace(self.archive.info(), learned=self.labels())


def _merge(given: Case, known: Case | None, *, doubted: bool) -> Case:
    """The archive's record of the query if there is one, unless a subject was named.

    Where that is doubted, no name is taken, or what it leaves out would tell whose it is; of what
    the archive knows the subject alone is, and no answer tells that the archive has the file.
    """
    if doubted:
        whose = Case(image="", path="") if known is None else known
        return replace(given, subject=whose.subject, collection=whose.collection)
    return given if known is None or given.subject is not None else known


def _nearest(state: State, query: Query, least: float | None, *, same_subject: bool) -> float | None:
    """Greatest cosine of any case but the query's own, of its person too unless told."""
    own = state.alike([query.descriptor], least)
    own |= np.zeros(len(state.ids), bool) if query.id is None else state.ids == query.id
    if not same_subject:
        own |= state.of_identity(query.case.identity)
    return None if own.all() else float(state.cosines(query.descriptor)[~own].max())
