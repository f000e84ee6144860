"""How good a descriptor is: rankings judged, with chance level and intervals."""

from foveola.metrics.arrays import evaluate
from foveola.metrics.differences import Difference, compare
from foveola.metrics.estimates import Estimate, Metric, QueryMetrics
from foveola.metrics.protocols import DEFAULT_KS, evaluate_retrieval
from foveola.metrics.result import Evaluation
from foveola.metrics.scores import Scores
from foveola.metrics.settings import Exclude, Settings
from foveola.metrics.sides import RetrievalData

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
