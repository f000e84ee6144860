"""Change an archive while others search it: add photographs, import folders, take cases out."""

from foveola.server.maintenance.add import Added, add_photograph, find_again, import_source, sweep
from foveola.server.maintenance.remove import finish_removals, is_settled, remove_cases, settle

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
