"""The PACS: DICOM images in, de-identified and indexed; results back."""

from pathlib import Path

STORE, PSEUDONYMS = "store", "pseudonyms.sqlite"


def place_of(archive: Path) -> Path:
    """Return where, unless another place is given, what comes from a PACS lies beside an archive.

    >>> place_of(Path("/data/retina")).name
    'retina.pacs'
    """
    return archive.absolute().with_name(f"{archive.absolute().name}.pacs")
