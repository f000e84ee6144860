"""Region search: the archive's cases by their place most like a marked one. See docs/how-to/regions.md."""

from foveola.regions.box import Box
from foveola.regions.build import Kept, count_missing, forget_missing, switch_off, switch_on, update
from foveola.regions.search import Places, RegionHit, RegionResult, RegionSearch
from foveola.regions.store import is_on

__all__ = [
    "Box",
    "Kept",
    "Places",
    "RegionHit",
    "RegionResult",
    "RegionSearch",
    "count_missing",
    "forget_missing",
    "is_on",
    "switch_off",
    "switch_on",
    "update",
]
