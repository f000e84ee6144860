"""How good a descriptor is: rankings judged, with chance level and intervals."""

from foveola.metrics.estimates import Estimate, Metric, QueryMetrics
from foveola.metrics.inputs import Exclude, RetrievalData, Settings
from foveola.metrics.ranking import Scores
from foveola.metrics.results import Difference, Evaluation, compare
from foveola.metrics.retrieval import DEFAULT_KS, evaluate, evaluate_retrieval

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
