"""The PACS: DICOM images in, de-identified and indexed; results back."""

from pathlib import Path

STORE, PSEUDONYMS = "store", "pseudonyms.sqlite"


def place_of(archive: Path) -> Path:
    """Where, unless another place is given, what comes from a PACS lies beside an archive."""
    return archive.absolute().with_name(f"{archive.absolute().name}.pacs")
