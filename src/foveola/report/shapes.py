"""What a page needs of a search; the results of `foveola.retrieval` fit."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from foveola.records import Case
from foveola.relevance.order import Order
from foveola.trust import HitTrust, QueryTrust

# The picture of a case as JPEG or PNG bytes, or None where there is none to show.
Images: TypeAlias = Callable[[Case], bytes | None]


class HitShape(Protocol):
    """One case found: rank from 1, cosine similarity from -1 to 1."""

    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def similarity(self) -> float: ...  # noqa: D102
    @property
    def case(self) -> Case: ...  # noqa: D102
    @property
    def trust(self) -> HitTrust | None: ...  # noqa: D102


class SearchShape(Protocol):
    """A query and its hits, best first.

    `considered` is the number of cases compared after filter and exclusion, `where` the
    filter as it was typed, `encoder` the name or fingerprint of the encoder, `gradability` the
    query's, from 0 to 1. `order` is that of the hits, `label` what it is learnt of, and `recorded`
    of how many hits that is recorded.
    """

    @property
    def query(self) -> Case: ...  # noqa: D102
    @property
    def hits(self) -> Sequence[HitShape]: ...  # noqa: D102
    @property
    def excluded_same_subject(self) -> int | None: ...  # noqa: D102
    @property
    def considered(self) -> int | None: ...  # noqa: D102
    @property
    def order(self) -> Order: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def recorded(self) -> int | None: ...  # noqa: D102
    @property
    def where(self) -> str | None: ...  # noqa: D102
    @property
    def encoder(self) -> str: ...  # noqa: D102
    @property
    def gradability(self) -> float: ...  # noqa: D102
    @property
    def trust(self) -> QueryTrust | None: ...  # noqa: D102
