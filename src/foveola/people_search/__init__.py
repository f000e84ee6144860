"""Which people of an archive are most like one, both eyes taken together."""

from foveola.answers import EyePair
from foveola.people_search.results import FoundPeople, PersonHit, PersonResult
from foveola.people_search.search import PeopleSearch, person_similarity

__all__ = ["EyePair", "FoundPeople", "PeopleSearch", "PersonHit", "PersonResult", "person_similarity"]
