"""Both eyes of a person in, probabilities of findings out."""

from foveola.reading.person import EyeReading, Reading, ReadPerson, read_people, read_person
from foveola.reading.pictures import evidence_pictures, photographs

__all__ = [
    "EyeReading",
    "ReadPerson",
    "Reading",
    "evidence_pictures",
    "photographs",
    "read_people",
    "read_person",
]
