"""Change an archive while others search it: add photographs, import folders, take cases out."""

from foveola.server.maintenance.add import Added, add_photograph
from foveola.server.maintenance.photographs import find_again, sweep
from foveola.server.maintenance.refresh import is_settled, settle
from foveola.server.maintenance.remove import finish_removals, remove_cases
from foveola.server.maintenance.sources import import_source

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
