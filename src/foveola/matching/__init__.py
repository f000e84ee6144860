"""The same subject again: the protocol it is measured by, candidates with proof, and the audit."""

from foveola.matching.evaluation import MatchingEvaluation, Protocol, evaluate_matching

__all__ = ["MatchingEvaluation", "Protocol", "evaluate_matching"]
