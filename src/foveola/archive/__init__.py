"""Cases and their descriptors, durable, searched exactly."""

from foveola.archive.info import ArchiveInfo
from foveola.archive.records import Entry, Found
from foveola.archive.search import top_k
from foveola.archive.store import Archive

__all__ = ["Archive", "ArchiveInfo", "Entry", "Found", "top_k"]
