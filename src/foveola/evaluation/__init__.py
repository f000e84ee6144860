"""How good a descriptor is: rankings judged, with chance level and intervals."""

from foveola.evaluation.protocols import DEFAULT_KS, Side, evaluate
from foveola.evaluation.result import Estimate, Evaluation, Metric, Settings

__all__ = ["DEFAULT_KS", "Estimate", "Evaluation", "Metric", "Settings", "Side", "evaluate"]
