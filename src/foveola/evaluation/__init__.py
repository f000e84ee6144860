"""How good a descriptor is: rankings judged, with chance level and intervals."""

from foveola.evaluation.arrays import evaluate
from foveola.evaluation.differences import Difference, compare
from foveola.evaluation.estimates import Estimate, Metric, QueryMetrics
from foveola.evaluation.protocols import DEFAULT_KS, evaluate_retrieval
from foveola.evaluation.result import Evaluation
from foveola.evaluation.scores import Scores
from foveola.evaluation.settings import Exclude, Settings
from foveola.evaluation.sides import RetrievalData

__all__ = [
    "DEFAULT_KS",
    "Difference",
    "Estimate",
    "Evaluation",
    "Exclude",
    "Metric",
    "QueryMetrics",
    "RetrievalData",
    "Scores",
    "Settings",
    "compare",
    "evaluate",
    "evaluate_retrieval",
]
