"""Exceptions raised on purpose: what a user of the program can cause.

    FoveolaError
        ConfigError     a setting is missing, unknown or out of range
        ManifestError   the table of images is not what it should be
        ImageError      a file is not a photograph that can be used
            PairError       two photographs are not the two eyes of one person
        EncoderError    a model is missing, damaged or of another kind
        ArchiveError    an archive is missing, damaged, busy or of another encoder
            NoCaseError     it holds no such case
            BusyError       another process is writing to it; trying again may help
            KnownCaseError  it holds this photograph with another record
        FilterError     a search condition can't be understood
        MatchingError   matching subjects is switched off, or can't be done
        AccessError     an account is missing or may not, or a log of what was seen can't be written
        JobError        work for an archive can't be queued, or there is no such work
        ServiceError    a service that was asked refused, or did not answer (foveola.client)
        PacsError       a PACS can't be reached, refuses, or the spool is not ours
        RegionError     an archive's places can't be searched, or a region is none
        StudyError      a reader study can't be made, read or answered
        ResourceError   the system allows the program too little
        MissingExtraError  an optional part of Foveola is not installed

The command line and the service turn each into one line or a 4xx. A message says
what was found, what was expected and what to do, and carries no name, number or
birth date of a patient. A wrong argument in Python is a ValueError instead.
"""

from pathlib import Path


class FoveolaError(Exception):
    """Base of everything that Foveola raises on purpose."""


class ConfigError(FoveolaError):
    """A setting is missing, unknown or out of range."""


class ManifestError(FoveolaError):
    """The table of images is not what it should be."""


class ImageError(FoveolaError):
    """A file is not a photograph that can be used."""


class PairError(ImageError):
    """Two photographs are not the left and the right eye of one person."""


class EncoderError(FoveolaError):
    """A model is missing, damaged or of another kind."""


class ArchiveError(FoveolaError):
    """An archive is missing, damaged, busy or made by another encoder."""


class NoCaseError(ArchiveError):
    """An archive holds no such case."""


class BusyError(ArchiveError):
    """Another process is writing to an archive; trying again may help."""


class KnownCaseError(ArchiveError):
    """An archive holds a photograph already, with another record."""


class FilterError(FoveolaError):
    """A search condition can't be understood."""


class MatchingError(FoveolaError):
    """Matching subjects is switched off for an archive, or can't be done there."""


class AccessError(FoveolaError):
    """An account is missing or may not, or the log of who saw what can't be written."""


class JobError(FoveolaError):
    """Work for an archive can't be queued, or there is no such work."""


class ServiceError(FoveolaError):
    """A service that was asked refused, or did not answer."""


class PacsError(FoveolaError):
    """A PACS can't be reached or refuses, or what it sends can't be kept."""


class RegionError(FoveolaError):
    """The places of an archive's photographs can't be searched, or a region is none."""


class StudyError(FoveolaError):
    """A reader study can't be made, read or answered."""


class ResourceError(FoveolaError):
    """The system allows the program too little memory."""


class MissingExtraError(FoveolaError):
    """An optional part of Foveola is not installed."""


def damaged(path: Path) -> str:
    """Return the sentence for a file beside an encoder that is damaged."""
    return f"{path} is damaged; copy it again from where the encoder came from"
