"""Both eyes of a person in, probabilities of findings out."""

from foveola.reading.person import (
    Prepared,
    ReadPerson,
    check_twice,
    prepare_eye,
    read,
    read_people,
    read_person,
    read_prepared,
)
from foveola.reading.result import EyeReading, Pictures, Reading, pictures

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
