"""What a file is by what it begins with, and which files of a folder are photographs.

A suffix that photographs have is believed, as reading every file would take long; a file of
another name is looked into. Folders that are links are not followed: what lies in them would come
twice, or from where nobody meant. Nothing is passed over without being counted.
"""

import codecs
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

READABLE = "JPEG, PNG, TIFF, WebP, BMP or DICOM"

# Every pair: what the file begins with, and its name in a sentence.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"PK\x03\x04", "a ZIP archive (also the form of .docx, .xlsx and .pptx)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file"),
    (b"{\\rtf", "an RTF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
)
_BRANDS = {b"avif": "an AVIF", b"avis": "an AVIF", b"crx ": "a Canon camera raw file"}
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# Of these, pictures of which a camera's owner may not know that they are not read.
PICTURES = frozenset(
    {"a GIF", "a JPEG 2000", "a JPEG XL", "a Photoshop file", "an AVIF", "a HEIC", "a Canon camera raw file"}
)
_DICOM = "a DICOM dataset without the preamble of a file (export it as a DICOM file)"


def is_dicom(data: bytes) -> bool:
    """Return whether this is a DICOM file, which is read by other means than photographs are."""
    return data[128:132] == b"DICM"


def readable_format(data: bytes) -> str | None:
    """Return JPEG, PNG, TIFF, WebP or BMP; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    # Two letters are little to go by: a text may begin with BM, too.
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "BMP"
    return None


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def describe(data: bytes) -> str:
    """Say what an unreadable file is, as the end of the sentence "this is ...".

    >>> describe(b"%PDF-1.7")
    'a PDF'
    """
    if not data:
        return "an empty file"
    for start, words in _OTHERS:
        if data.startswith(start):
            return words
    if data[:4] in (b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\0\0"):
        return _DICOM
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "a HEIC" if brand in _HEIC else _BRANDS.get(brand, "a video (MP4 or MOV)")
    return _describe_text(data)


def _describe_text(data: bytes) -> str:
    head = data[:4096]
    if not any(head):
        return "a file of zeros (an unfinished copy?)"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page (a login or error page saved as an image?)"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing" if b"<svg" in start else "an XML file"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON file"
    return "a text file" if _is_text(head) else "a file of an unknown kind"


def _is_text(head: bytes) -> bool:
    """Whether there is nothing but UTF-8 without control characters."""
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the cut may split a character
    except UnicodeDecodeError:
        return False
    return True


# --- the photographs of a folder, and what is passed over ---


# of photographs that `decode` reads
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp"})

OTHER = ("file that is no photograph", "files that are no photographs")
DICOM = ("DICOM file, which dicom://FOLDER takes", "DICOM files, which dicom://FOLDER takes")
HIDDEN = ("hidden file or folder", "hidden files and folders")
LOCKED = ("file that can't be read", "files that can't be read")
ODD = ("pipe, socket or device", "pipes, sockets and devices")
NO_FOLDER = ("subfolder that can't be read", "subfolders that can't be read")
LINK = ("linked subfolder, to be named by itself", "linked subfolders, to be named by themselves")
_HEAD = 132  # bytes by which a file is known


class PassedOver:
    """What was passed over in folders, by kind; no names, as they may be of people."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: tuple[str, str]) -> None:
        """Count one."""
        self.counts[kind] += 1

    def said(self) -> str | None:
        """Return a sentence; None where nothing was passed over."""
        if not self.counts:
            return None
        parts = [f"{count} {kind[count > 1]}" for kind, count in sorted(self.counts.items())]
        return f"passed over: {', '.join(parts)}"

    def as_json(self) -> dict[str, int]:
        """Return counts by kind, as plain values."""
        return {kind[1]: count for kind, count in sorted(self.counts.items())}


def files_in(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield every file in a folder and below, in order of path, but hidden ones.

    Raises:
        OSError: the folder itself can't be read.
    """
    os.scandir(folder).close()
    for here, inside, names in os.walk(folder, onerror=lambda _: passed.add(NO_FOLDER)):
        for name in sorted(inside):
            hidden, linked = name.startswith("."), os.path.islink(os.path.join(here, name))  # noqa: PTH114, PTH118
            if hidden or linked:
                passed.add(HIDDEN if hidden else LINK)
                inside.remove(name)
        inside.sort()
        for name in sorted(names):
            if name.startswith("."):
                passed.add(HIDDEN)
            else:
                yield Path(here, name)


def photographs_in(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield every file that has the suffix or the content of a photograph; as `files_in`."""
    for path in files_in(folder, passed):
        if path.suffix.lower() in SUFFIXES or (kind := kind_of(path)) is None:
            yield path
        else:
            passed.add(kind)


def kind_of(path: Path) -> tuple[str, str] | None:
    """Tell what a file is by its content; None for a photograph that can be decoded, but DICOM."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return ODD
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return LOCKED
    if is_dicom(head):
        return DICOM
    if readable_format(head) is not None:
        return None
    if (words := describe(head)) not in PICTURES:
        return OTHER
    name = words.partition(" ")[2].removesuffix(" file")  # of a picture that is none for us
    return f"{name} file, to be converted to PNG or JPEG", f"{name} files, to be converted to PNG or JPEG"
