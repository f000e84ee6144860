"""Both eyes of a person in, probabilities of findings out."""

from foveola.reading.person import (
    EyeReading,
    Prepared,
    Reading,
    ReadPerson,
    check_twice,
    prepare_eye,
    read,
    read_people,
    read_person,
    read_prepared,
)
from foveola.reading.shown import Pictures, pictures

__all__ = [
    "EyeReading",
    "Pictures",
    "Prepared",
    "ReadPerson",
    "Reading",
    "check_twice",
    "pictures",
    "prepare_eye",
    "read",
    "read_people",
    "read_person",
    "read_prepared",
]
