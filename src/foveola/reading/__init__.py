"""Both eyes of a person in, probabilities of findings out."""

from foveola.reading.person import EyeReading, Reading, ReadPerson, read_people, read_person
from foveola.reading.pictures import Pictures, pictures

__all__ = [
    "EyeReading",
    "Pictures",
    "ReadPerson",
    "Reading",
    "pictures",
    "read_people",
    "read_person",
]
