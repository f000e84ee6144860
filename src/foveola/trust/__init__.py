"""How far a hit can be trusted: what similarities are worth in one archive.

made = calibrate(archive)             read once, kept beside the archive
made.hit(similarity, label)           percentiles, and the chance that the labels agree
made.query(similarities, labels)      whether the nearest is near enough
"""

from foveola.trust.calibration import TRUST, Calibration, calibrate, load, refresh
from foveola.trust.judged import HitTrust, QueryTrust

__all__ = ["TRUST", "Calibration", "HitTrust", "QueryTrust", "calibrate", "load", "refresh"]
