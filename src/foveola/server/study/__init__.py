"""ReadingModel studies: do people find the hits of a search more alike than random cases?"""

from foveola.server.study.answers import Answer, Answers
from foveola.server.study.export import to_csv
from foveola.server.study.plan import Item, Study, new_study, open_study

__all__ = ["Answer", "Answers", "Item", "Study", "new_study", "open_study", "to_csv"]
