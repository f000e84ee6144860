"""The same subject again: the protocol it is measured by, candidates with proof, and the audit."""

from foveola.matching.evaluation import MatchingEvaluation, evaluate_matching
from foveola.matching.protocol import Protocol

__all__ = ["MatchingEvaluation", "Protocol", "evaluate_matching"]
