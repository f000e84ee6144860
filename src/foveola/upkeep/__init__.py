"""Change an archive while others search it: add photographs, import folders, take cases out."""

from foveola.upkeep.add import Added, add_photograph
from foveola.upkeep.photographs import find_again, sweep
from foveola.upkeep.remove import finish_removals, remove_cases
from foveola.upkeep.settling import is_settled, settle
from foveola.upkeep.sources import import_source

__all__ = [
    "Added",
    "add_photograph",
    "find_again",
    "finish_removals",
    "import_source",
    "is_settled",
    "remove_cases",
    "settle",
    "sweep",
]
