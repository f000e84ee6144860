"""Both eyes of a person: which is which, the people most like them, and what a reader says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Eye
from foveola.encoders.encoder import Encoder
from foveola.errors import FoveolaError
from foveola.images.decode import decode
from foveola.images.overlay import shares
from foveola.matching.gallery import SHIPPED
from foveola.matching.laterality import LATERALITY, Laterality, four_views
from foveola.people import EYES
from foveola.people_search import PersonResult
from foveola.reading import Prepared, Reading, prepare_eye, read_prepared
from foveola.service.desk import NAME, Desk
from foveola.service.pictures import Kept, heat
from foveola.service.queries import Sent
from foveola.service.tokens import Tokens
from foveola.service.who import discreet, saw

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


class Both:
    """What is asked about two eyes at once. Safe to use from several threads.

    Args:
        desk: of the archive.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.pairs: Tokens[Pair] = Tokens()
        self._readings: Kept[Reading] = Kept(64)

    def receive(self, files: Sequence[bytes], first: Eye | None) -> str:
        """Read and keep one photograph; returns its token.

        Or two, of fellow eyes; returns the token of the pair. Where nobody says which eye the
        first one is, the archive may know, or it is told from the pictures.

        Raises:
            ImageError: one is no photograph that can be used.
        """
        eyes = [first, None if first is None else OTHER[first]]
        tokens = [self._receive(data, eye) for data, eye in zip(files, eyes, strict=False)]
        if len(tokens) == 1:
            return tokens[0]
        sure = None
        if first is None:
            first, sure = self._first(*tokens)
            self._say(tokens, first)
        return self.pairs.put(Pair({first: tokens[0], OTHER[first]: tokens[1]}, sure))

    def swap(self, pair: Pair) -> str:
        """The same two with left and right exchanged; returns the token of that pair."""
        tokens = {OTHER[eye]: token for eye, token in pair.tokens.items()}
        self._say([tokens["left"], tokens["right"]], "left")
        return self.pairs.put(Pair(tokens))

    def sent(self, pair: Pair) -> dict[Eye, Sent] | None:
        """Both photographs; None where one is not kept any more."""
        found = {eye: self.desk.queries.get(pair.tokens[eye]) for eye in EYES}
        kept = {eye: sent for eye, sent in found.items() if sent is not None}
        return kept if len(kept) == len(EYES) else None

    def people(self, sent: Mapping[Eye, Sent], k: int, where: str | None) -> PersonResult:
        """The people most like these eyes.

        Raises:
            ArchiveError, FilterError, ImageError: as `Retriever.search_person` does.
        """
        asked = {eye: of.query for eye, of in sent.items()}
        result: PersonResult = discreet(self.desk.retriever.answer_person(asked, k, where=where))
        saw(id_ for hit in result.hits for id_ in hit.ids.values())
        return result

    def reading(self, sent: Mapping[Eye, Sent]) -> Reading:
        """What the reader says of these eyes, or of the one there is.

        Raises:
            EncoderError: there is no reader.
            ImageError: both are one photograph.
        """
        key = tuple((eye, of.query.digest) for eye, of in sorted(sent.items()))

        def make() -> Reading:
            eyes = {eye: self._prepared(of) for eye, of in sent.items()}
            return read_prepared(self.desk.models.reader, eyes)

        return self._readings.get(key, make)

    def evidence(self, sent: Mapping[Eye, Sent], label: str, eye: Eye) -> bytes | None:
        """Where a finding comes from in an eye, as a PNG; both eyes are on one scale."""
        if not sent:
            return None
        reading = self.reading(sent)
        if label not in reading.labels or eye not in reading.eyes:
            return None
        at = reading.labels.index(label)
        maps = {side: of.evidence[at] for side, of in reading.eyes.items()}
        most = max(0.0, *(float(values.max()) for values in maps.values()))
        return heat(shares(maps[eye], most))

    @cached_property
    def _sides(self) -> tuple[Encoder, Laterality]:
        encoder = Encoder.load(SHIPPED)
        rule = Laterality.load(encoder.release.folder / LATERALITY, encoder.fingerprint)
        return encoder, rule

    def _receive(self, data: bytes, eye: Eye | None) -> str:
        token = self.desk.receive(data, eye)
        sent = self.desk.queries.get(token)
        if sent is not None:
            reader = self.desk.models.reader
            size = reader.release.contract.min_side
            sent.prepared.get(
                None, lambda: prepare_eye(reader, decode(data, min_side=size, name=NAME))
            )
        return token

    def _prepared(self, sent: Sent) -> Prepared:
        def make() -> Prepared:
            return prepare_eye(self.desk.models.reader, decode(sent.picture.jpeg, name=NAME))

        return sent.prepared.get(None, make)

    def _first(self, *tokens: str) -> tuple[Eye, float | None]:
        """Which eye the first one is, and how sure that is; None where the archive knows it."""
        found = [self.desk.queries.get(token) for token in tokens]
        one, other = (None if sent is None else sent.query.case.eye for sent in found)
        if one is not None:
            return one, None
        if other is not None:
            return OTHER[other], None
        try:
            encoder, rule = self._sides
            views = [four_views(encoder, pixels(sent)) for sent in found if sent is not None]
            left = rule.left_first(*views)
        except FoveolaError:  # without the rule a person has to look
            return "right", 0.5
        return ("left", left) if left >= 0.5 else ("right", 1 - left)

    def _say(self, tokens: Sequence[str], first: Eye) -> None:
        """Note which eye each shows, and describe it anew where its encoder turns left eyes."""
        for token, eye in zip(tokens, (first, OTHER[first]), strict=True):
            sent = self.desk.queries.get(token)
            if sent is None or sent.query.id is not None:  # the archive knows better
                continue
            query = sent.query._replace(case=replace(sent.query.case, eye=eye))
            encoder = self.desk.retriever.encoder
            if encoder.contract.orient:
                query = query._replace(descriptor=encoder.encode_photograph(pixels(sent), eye))
            self.desk.queries.change(token, query)


def pixels(sent: Sent) -> NDArray[np.uint8]:
    """(H, W, 3), of a photograph that was sent."""
    return decode(sent.picture.jpeg, name=NAME)
