"""Cases and their descriptors, durable, searched exactly."""

from foveola.archive.schema import Entry, Found, Photographed
from foveola.archive.search import top_k
from foveola.archive.state import ArchiveInfo, State
from foveola.archive.store import Archive

__all__ = ["Archive", "ArchiveInfo", "Entry", "Found", "Photographed", "State", "top_k"]
