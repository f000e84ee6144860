"""Exceptions raised on purpose: what a user of the program can cause.

    FoveolaError
        ConfigError     a setting is missing, unknown or out of range
        ManifestError   the table of images is not what it should be
        ImageError      a file is not a photograph that can be used
        EncoderError    a model is missing, damaged or of another kind
        ArchiveError    an archive is missing, damaged, busy or of another encoder
        FilterError     a search condition can't be understood
        MatchingError   matching subjects is switched off, or can't be done
        StudyError      a reader study can't be made, read or answered
        MissingExtraError  an optional part of Foveola is not installed

The command line and the service turn each into one line or a 4xx. A message says
what was found, what was expected and what to do, and carries no name, number or
birth date of a patient. A wrong argument in Python is a ValueError instead.
"""


class FoveolaError(Exception):
    """Base of everything that Foveola raises on purpose."""


class ConfigError(FoveolaError):
    """A setting is missing, unknown or out of range."""


class ManifestError(FoveolaError):
    """The table of images is not what it should be."""


class ImageError(FoveolaError):
    """A file is not a photograph that can be used."""


class EncoderError(FoveolaError):
    """A model is missing, damaged or of another kind."""


class ArchiveError(FoveolaError):
    """An archive is missing, damaged, busy or made by another encoder."""


class FilterError(FoveolaError):
    """A search condition can't be understood."""


class MatchingError(FoveolaError):
    """Matching subjects is switched off for an archive, or can't be done there."""


class StudyError(FoveolaError):
    """A reader study can't be made, read or answered."""


class MissingExtraError(FoveolaError):
    """An optional part of Foveola is not installed."""
