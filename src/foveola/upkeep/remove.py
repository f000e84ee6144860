"""Take cases out of an archive, with all that was made of them."""

from collections.abc import Collection
from pathlib import Path

from foveola.archive import Archive
from foveola.matching.gallery import forget_missing
from foveola.regions import forget_missing as forget_places
from foveola.upkeep import photographs


def remove_cases(
    folder: Path,
    *,
    ids: Collection[int] | None = None,
    image: str | None = None,
    subject: str | None = None,
    collection: str | None = None,
) -> int:
    """Remove cases, what matching and regions keep, and photographs that the archive owns.

    Photographs that lie elsewhere are not touched. What similarities are worth is not learnt anew
    (`settle`).

    Args:
        folder: the archive.
        ids: of cases. Give these, or image, or subject.
        image: name or path of an image.
        subject: pseudonym of a subject, all of whose images go.
        collection: in which to look for the image or the subject.

    Returns:
        How many cases were removed.

    Raises:
        NoCaseError: there is none.
        ArchiveError: as from `Archive.remove`; what was removed is removed.
    """
    with Archive.open(folder) as archive:
        before = set(archive.known())
        try:
            removed = archive.remove(ids=ids, image=image, subject=subject, collection=collection)
        finally:  # where only the file could not be rewritten, the cases are gone all the same
            gone = before - set(archive.known())
            for path in gone:
                photographs.discard(folder, path)
            if gone:
                forget_missing(folder)
                forget_places(folder)
    return removed
