"""The audit log of an archive: who record_access which case, each line chained to the one before."""

from foveola.server.audit.chain import FILE, Log, Seen
from foveola.server.audit.check import Verified, head, read, time_of, verify

__all__ = ["FILE", "Log", "Seen", "Verified", "head", "read", "time_of", "verify"]
