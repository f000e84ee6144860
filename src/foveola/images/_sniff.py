"""What kind of file these bytes are: by what they begin with, never by a file's name."""

import codecs

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
    """Whether this is a DICOM file, which is read by other means than photographs are."""
    return data[128:132] == b"DICM"


def readable_format(data: bytes) -> str | None:
    """JPEG, PNG, TIFF, WebP or BMP; None for anything else."""
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
    """What an unreadable file is, as the end of the sentence "this is ..."."""
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
