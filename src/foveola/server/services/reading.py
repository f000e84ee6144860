"""Both eyes of a person: which is which, the people most like them, and what a reader says.

Which is which is told from the pictures where that is sure, and asked where it is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveola.images.decode import decode
from foveola.images.pictures import shares
from foveola.laterality import Sides, check_sides, first_of_two, shipped_sides
from foveola.people import EYES
from foveola.people_search import PersonResult
from foveola.reading import Prepared, Reading, check_twice, prepare_eye, read_prepared
from foveola.records import Eye
from foveola.retrieval import check_two
from foveola.server.auth.context import discreet, record_access
from foveola.server.services.memory import LRUCache, Sent, SessionStore, heat
from foveola.server.services.search import NAME, SearchService

OTHER: Mapping[Eye, Eye] = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Pair:
    """Two photographs of one person.

    Attributes:
        tokens: of each eye's photograph.
        sure: probability that left and right are told rightly; None where somebody said it.
    """

    tokens: Mapping[Eye, str]
    sure: float | None = None


class ReadingService:
    """What is asked about two eyes at once. Safe to use from several threads.

    Args:
        service: of the archive.
    """

    def __init__(self, service: SearchService) -> None:
        self.service = service
        self.pairs: SessionStore[Pair] = SessionStore()
        self.unsaid: SessionStore[tuple[str, ...]] = SessionStore()  # two photographs, by their own tokens
        self._readings: LRUCache[Reading] = LRUCache(64)

    def receive(
        self, files: Sequence[bytes], first: Eye | None, subject: str | None = None, collection: str = ""
    ) -> str:
        """Read and keep one photograph, or two of fellow eyes; returns where they are shown.

        Where nobody says which eye the first one is, the archive may know, or it is told from the
        pictures; where these are not sure, that is the address where it is asked.

        Raises:
            ImageError: one is no photograph that can be used, or the two are not the left and the
                right eye of a person.
        """
        eyes = [first, None if first is None else OTHER[first]]
        sides = shipped_sides() if len(files) == len(EYES) else None
        tokens = [self._receive(data, eye, subject, collection, sides) for data, eye in zip(files, eyes, strict=False)]
        if len(tokens) == 1:
            return f"/queries/{tokens[0]}"
        sent = [each for token in tokens if (each := self.service.queries.get(token)) is not None]
        check_two(*(each.query for each in sent))
        check_twice([self._prepared(each) for each in sent])
        retinas = [each.query.side for each in sent if each.query.looks.comparable]
        check_sides(dict(zip(EYES, retinas, strict=False)))  # whichever is which
        if first is not None:
            return self._pair(tokens, first)
        told = first_of_two([each.query.side for each in sent], [each.query.case.eye for each in sent])
        return f"/eyes/{self.unsaid.put(tuple(tokens))}" if told is None else self.say(tokens, *told)

    def say(self, tokens: Sequence[str], first: Eye, sure: float | None = None) -> str:
        """Note which eye the first of two photographs shows; returns where they are shown."""
        self._say(tokens, first)
        return self._pair(tokens, first, sure)

    def _pair(self, tokens: Sequence[str], first: Eye, sure: float | None = None) -> str:
        pair = Pair({first: tokens[0], OTHER[first]: tokens[1]}, sure)
        return f"/people/{self.pairs.put(pair)}"

    def swap(self, pair: Pair) -> str:
        """Exchange left and right; return where they are shown."""
        return self.say([pair.tokens["right"], pair.tokens["left"]], "left")

    def sent(self, pair: Pair) -> dict[Eye, Sent] | None:
        """Return both photographs; None where one is not kept any more."""
        found = {eye: self.service.queries.get(pair.tokens[eye]) for eye in EYES}
        kept = {eye: sent for eye, sent in found.items() if sent is not None}
        return kept if len(kept) == len(EYES) else None

    def people(self, sent: Mapping[Eye, Sent], k: int, where: str | None) -> PersonResult:
        """Find the people most like these eyes.

        Raises:
            ArchiveError, FilterError, ImageError: as `Retriever.search_person` does.
        """
        asked = {eye: of.query for eye, of in sent.items()}
        result: PersonResult = discreet(self.service.retriever.search_person_query(asked, k, where=where))
        record_access(id_ for hit in result.hits for id_ in hit.ids.values())
        return result

    def reading(self, sent: Mapping[Eye, Sent]) -> Reading:
        """Read these eyes, or the one there is.

        Raises:
            EncoderError: there is no reader.
            ImageError: none shows a retina, or both are one photograph.
        """
        key = tuple((eye, of.query.digest) for eye, of in sorted(sent.items()))

        def make() -> Reading:
            eyes = {eye: self._prepared(of) for eye, of in sent.items()}
            return read_prepared(self.service.models.reader, eyes)

        return self._readings.get(key, make)

    def evidence(self, sent: Mapping[Eye, Sent], label: str, eye: Eye) -> bytes | None:
        """Map where a finding comes from in an eye, as a PNG; both eyes are on one scale."""
        if not sent:
            return None
        reading = self.reading(sent)
        if label not in reading.labels or eye not in reading.eyes:
            return None
        at = reading.labels.index(label)
        maps = {side: of.evidence[at] for side, of in reading.eyes.items()}
        most = max(0.0, *(float(values.max()) for values in maps.values()))
        return heat(shares(maps[eye], most))

    def _receive(self, data: bytes, eye: Eye | None, subject: str | None, collection: str, sides: Sides | None) -> str:
        token = self.service.receive(data, eye, subject, collection, sides)
        sent = self.service.queries.get(token)
        if sent is not None:
            models = self.service.models
            size = models.reader.release.contract.min_side
            pixels = decode(data, min_side=size, name=NAME)
            made = prepare_eye(models.reader, pixels, models.looker)._replace(side=sent.query.side)
            sent.prepared.get(None, lambda: made)
        return token

    def _prepared(self, sent: Sent) -> Prepared:
        def make() -> Prepared:
            models = self.service.models
            made = prepare_eye(models.reader, pixels(sent), models.looker)
            return made._replace(side=sent.query.side)

        return sent.prepared.get(None, make)

    def _say(self, tokens: Sequence[str], first: Eye) -> None:
        """Note which eye each shows, and describe it anew where its encoder turns left eyes."""
        for token, eye in zip(tokens, (first, OTHER[first]), strict=True):
            sent = self.service.queries.get(token)
            if sent is None or sent.query.id is not None:  # the archive knows better
                continue
            query = sent.query._replace(case=replace(sent.query.case, eye=eye))
            encoder = self.service.retriever.encoder
            if encoder.contract.orient:
                query = query._replace(descriptor=encoder.encode_photograph(pixels(sent), eye))
            self.service.queries.change(token, query)


def pixels(sent: Sent) -> NDArray[np.uint8]:
    """Decode a photograph that was sent, (H, W, 3)."""
    return decode(sent.picture.jpeg, name=NAME)
