"""A DICOM object from bytes, checked before anything is allocated for its pixels.

Runs in the limited child only. Sentences name tags and what the dictionary calls things;
no value that a sender wrote, unless it is a number or one of a known list.
"""

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from foveola.errors import ImageError
from foveola.images.limits import Limits

config.settings.reading_validation_mode = config.IGNORE  # odd values are common and harmless

MOST_FRAMES = 1000
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.5.5": "Wide Field Ophthalmic Photography Stereographic",
    "1.2.840.10008.5.1.4.1.1.77.1.5.6": "Wide Field Ophthalmic Photography 3D Coordinates",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.77.1.1": "VL Endoscopic",
    "1.2.840.10008.5.1.4.1.1.77.1.2": "VL Microscopic",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic",
}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
JPEG_2000 = {*JPEG2000TransferSyntaxes, HTJ2KLossless, HTJ2K, HTJ2KLosslessRPCL}
_SIGNED_ITSELF = {*JPEG_2000, JPEGBaseline8Bit, JPEGExtended12Bit}  # so says the stream
_EYES = {"R": "right", "L": "left"}
# Codes of the side that modify the anatomic region: SNOMED CT, and its older form SRT.
_SIDES = {"24028007": "R", "7771000": "L", "51440002": "B", "G-A100": "R", "G-A101": "L", "G-A102": "B"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the pixels are stored.

    Attributes:
        rows, columns: pixels of a frame.
        frames: how many, at least 1.
        samples: 1 or 3 a pixel.
        allocated, bits: of a sample, 8 or 16, and how many of them are used.
        signed: whether samples are numbers in two's complement.
        photometric: Photometric Interpretation.
        syntax: transfer syntax; deflated ones are unpacked by then.
        widest: bits that a sample may need where more than `bits` are used after all.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    allocated: int
    bits: int
    signed: bool
    photometric: str
    syntax: UID
    widest: int = 16


def read_object(data: bytes, limits: Limits) -> Dataset:
    """Read the dataset of a DICOM file, with its file meta information.

    Raises:
        ImageError: no DICOM file, or it unpacks to more than limits.max_bytes.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(f"it has {len(data) / 2**20:.0f} MiB, above Limits.max_bytes")
    if data[128:132] != b"DICM":
        raise ImageError("this is no DICOM file: 'DICM' is missing at byte 128")
    file = io.BytesIO(data)
    file.seek(132)
    meta = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    if "TransferSyntaxUID" not in meta:
        raise ImageError(f"{named('TransferSyntaxUID')} is missing; export it as a DICOM file")
    if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return dcmread(io.BytesIO(data))
    found = read_dataset(io.BytesIO(_inflate(data[file.tell() :], limits)), False, True)
    found.file_meta = FileMetaDataset(meta)
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.set_original_encoding(False, True, found.get("SpecificCharacterSet"))
    return found


def _inflate(data: bytes, limits: Limits) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, limits.max_bytes)
    except zlib.error:
        raise ImageError("its deflated part is damaged; copy or send it again") from None
    if unpacker.unconsumed_tail:
        most = limits.max_bytes / 2**20
        raise ImageError(f"it unpacks to more than {most:g} MiB (Limits.max_bytes)")
    if not unpacker.eof:
        raise ImageError("its deflated part is cut off; copy or send it again")
    return unpacked


def form_of(found: Dataset, limits: Limits) -> Form:
    """Find out how the pixels are stored, and check it.

    Raises:
        ImageError: another SOP class or kind of pixels, or beyond the limits.
    """
    _check_class(found)
    form = _form(found)
    size = f"Rows (0028,0010) x Columns (0028,0011) is {form.rows} x {form.columns}"
    if min(form.rows, form.columns) <= 0:
        raise ImageError(f"{size}; the file is damaged, copy it again")
    if form.rows * form.columns > limits.max_pixels:
        most = limits.max_pixels / 1e6
        raise ImageError(f"{size}; expected at most {most:g} million pixels (Limits.max_pixels)")
    if min(form.rows, form.columns) < limits.smallest_side:
        raise ImageError(f"{size}; expected at least {limits.smallest_side} on each side")
    if max(form.rows, form.columns) > limits.max_aspect * min(form.rows, form.columns):
        raise ImageError(f"{size}; expected sides of at most {limits.max_aspect:g} to 1 (Limits.max_aspect)")
    if not 1 <= form.frames <= MOST_FRAMES:
        frames = named("NumberOfFrames")
        raise ImageError(f"{frames} is {form.frames}; expected 1 to {MOST_FRAMES}")
    _check_samples(form)
    _complete(found, form)
    check_numbers(found, form.photometric)
    _check_length(found, form)
    return form


def _check_class(found: Dataset) -> None:
    uid = UID(str(found.get("SOPClassUID", "")))
    if uid not in SOP_CLASSES:
        known = uid.name if uid.name != uid else "missing or unknown"
        raise ImageError(
            f"{named('SOPClassUID')} is {known}; expected Ophthalmic Photography, Secondary Capture or a VL image"
        )


def _form(found: Dataset) -> Form:
    photometric = str(found.get("PhotometricInterpretation", "")).strip()
    if photometric not in _GREY + _COLOUR:
        expected = ", ".join(_GREY + _COLOUR)
        tag = named("PhotometricInterpretation")
        raise ImageError(f"{tag} is missing or of another kind; expected {expected}")
    allocated = _number(found, "BitsAllocated")
    return Form(
        rows=_number(found, "Rows"),
        columns=_number(found, "Columns"),
        frames=_number(found, "NumberOfFrames", 1),
        samples=_number(found, "SamplesPerPixel", 1 if photometric in _GREY else 3),
        allocated=allocated,
        bits=_number(found, "BitsStored", allocated),
        signed=_number(found, "PixelRepresentation", 0) == 1,
        photometric=photometric,
        syntax=UID(str(found.file_meta.TransferSyntaxUID)),
    )


def _number(found: Dataset, keyword: str, otherwise: int | None = None) -> int:
    value: Any = found.get(keyword)
    if value is None or value == "":
        if otherwise is None:
            raise ImageError(f"{named(keyword)} is missing; export the image again")
        return otherwise
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ImageError(f"{named(keyword)} is not one number; export the image again") from None


def _check_samples(form: Form) -> None:
    expected = 1 if form.photometric in _GREY else 3
    if form.samples != expected:
        tag = named("SamplesPerPixel")
        raise ImageError(f"{tag} is {form.samples}; expected {expected} for {form.photometric}")
    if form.allocated not in (8, 16):
        raise ImageError(f"{named('BitsAllocated')} is {form.allocated}; expected 8 or 16")
    if not 1 < form.bits <= form.allocated:
        tag = named("BitsStored")
        raise ImageError(f"{tag} is {form.bits}; expected 2 to {form.allocated}")
    if form.syntax in _SIGNED_ITSELF:
        return
    if form.samples == 3 and (form.signed or (form.allocated == 16 and form.photometric != "RGB")):
        raise ImageError(
            f"{form.photometric} of {form.allocated} bits, signed or not, has no clear meaning on "
            "a screen; export it with 8 bits"
        )


def _complete(found: Dataset, form: Form) -> None:
    """Give what is missing the standard's default, as decoders ask for it; the rest must fit."""
    planes = _number(found, "PlanarConfiguration", 0)
    if form.samples == 3 and planes not in (0, 1):
        raise ImageError(f"{named('PlanarConfiguration')} is {planes}; expected 0 or 1")
    if (sign := _number(found, "PixelRepresentation", 0)) not in (0, 1):
        raise ImageError(f"{named('PixelRepresentation')} is {sign}; expected 0 or 1")
    high = _number(found, "HighBit", form.bits - 1)
    coded = form.syntax.is_encapsulated and form.syntax != RLELossless  # the stream itself says how many bits
    if high != form.bits - 1 and not coded:
        raise ImageError(f"{named('HighBit')} is {high}; expected {form.bits - 1}, one less than {named('BitsStored')}")
    found.SamplesPerPixel, found.BitsStored, found.HighBit = form.samples, form.bits, form.bits - 1
    found.PixelRepresentation = int(form.signed)
    if form.samples == 3:
        found.PlanarConfiguration = planes


def _check_length(found: Dataset, form: Form) -> None:
    """Pixels that are not compressed must all be there, and as many as their label says."""
    if "PixelData" not in found:
        raise ImageError(f"{named('PixelData')} is missing; this object holds no picture")
    if form.syntax.is_encapsulated:
        return
    whole = form.rows * form.columns * form.samples * form.allocated // 8 * form.frames
    needed = whole // 3 * 2 if form.photometric == "YBR_FULL_422" else whole
    there = len(found.PixelData)
    if there < needed:
        raise ImageError(f"{named('PixelData')} has {there} bytes, expected {needed}; it is cut off")
    if form.photometric == "YBR_FULL_422" and there >= whole:
        raise ImageError(
            f"{named('PhotometricInterpretation')} is YBR_FULL_422, but {named('PixelData')} has "
            "three samples for each pixel, of RGB or YBR_FULL; export it with the right label"
        )


def eye_of(found: Dataset, frame: int = 0) -> str | None:
    """`left` or `right`; None where it is not stated, both, or neither.

    What is said of the frame comes first, in the functional groups, its own before those of all
    frames; then Image Laterality (0020,0062), Laterality (0020,0060), and what modifies the
    anatomic region. U, unpaired, says nothing of an eye.
    """
    return _EYES.get(next(filter(None, _laterality(found, frame)), ""))


def _laterality(found: Dataset, frame: int) -> Iterator[str]:
    """What is stated in each place, "" for nothing."""
    own = _item(found, "PerFrameFunctionalGroupsSequence", frame)
    shared = _item(found, "SharedFunctionalGroupsSequence", 0)
    regions = [_item(groups, "FrameAnatomySequence", 0) for groups in (own, shared)]
    yield from (_side(anatomy, "FrameLaterality") for anatomy in regions)
    yield from (_side(found, keyword) for keyword in ("ImageLaterality", "Laterality"))
    for anatomy in (*regions, found):
        for part in ("AnatomicRegion", "PrimaryAnatomicStructure"):
            region = _item(anatomy, f"{part}Sequence", 0)
            for where in (region, anatomy):  # within it by the standard, beside it by some
                code = _item(where, f"{part}ModifierSequence", 0) or Dataset()
                yield _SIDES.get(str(code.get("CodeValue") or "").strip(), "")


def _side(found: Dataset | None, keyword: str) -> str:
    value = "" if found is None else str(found.get(keyword) or "").strip().upper()
    return "" if value == "U" else value


def _item(found: Dataset | None, keyword: str, index: int) -> Dataset | None:
    items = found.get(keyword) if found is not None else None
    return items[index] if items is not None and len(items) > index else None


# --- Numbers and tables that decide what is seen ---


Floats = NDArray[np.float64]

SHADES = ("MONOCHROME1", "MONOCHROME2")
# Of a centre, a width, a slope, an intercept: 16-bit values lie below, and what de-identification
# would leave out (foveola.server.dicom.allowlist) must not look otherwise than before.
_MOST = 99_999


def named(keyword: str) -> str:
    """Name a tag as a sentence does: "Rows (0028,0010)"."""
    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def check_numbers(found: Dataset, photometric: str) -> None:
    """Look at every number that `foveola.images._dicom_colors` will use of a grey picture.

    Raises:
        ImageError: one is none, not finite, absurd, or makes all values alike.
    """
    if photometric not in SHADES:
        return
    numbers = {k: first_number(found, k) for k in ("WindowCenter", "WindowWidth", "RescaleSlope")}
    first_number(found, "RescaleIntercept")
    if numbers["RescaleSlope"] == 0:
        raise ImageError(f"{named('RescaleSlope')} is 0, which makes all values alike; export the image again")
    width = numbers["WindowWidth"]
    least = 1 if str(found.get("VOILUTFunction") or "LINEAR") == "LINEAR" else 1e-9
    if width is not None and numbers["WindowCenter"] is not None and width < least:
        raise ImageError(f"{named('WindowWidth')} is too small; export the image without a window")


def first_number(found: Dataset, keyword: str) -> float | None:
    """Return the first value of an attribute; None where it is missing or empty.

    Raises:
        ImageError: it is no number, not finite, or absurdly large.
    """
    try:
        value: Any = found.get(keyword)
        if isinstance(value, MultiValue):
            value = value[0] if len(value) else None
        if value is None or value == "":
            return None
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ImageError(f"{named(keyword)} is not a number; export the image again") from None
    if not abs(number) <= _MOST:  # nor if it is NaN
        raise ImageError(f"{named(keyword)} is not a plausible number; export the image again, or without it")
    return number


# --- makers and models of cameras ---

# Manufacturer (0008,0070) and its model name (0008,1090) are whatever somebody typed in. What is kept is
# our own word for the maker, and the part of the model name that has the shape of one of that maker's
# models; anything else is left out, so that no free text of a sender is kept.
# Maker's word in a Manufacturer, our name of the maker, shapes of its models.
_MAKERS: tuple[tuple[str, str, str], ...] = (
    ("topcon", "Topcon", r"TRC[- ]?(?:NW|50)\d{0,3}[A-Z]{0,2}|OCT-\d{1,4}|Maestro ?2?|Triton"),
    ("canon", "Canon", r"C[RX]-?\d{1,2}(?: ?(?:AF|Plus AF|NM|DGi))?|CF-\d{1,2}[A-Z]{0,3}|CR-DGi"),
    ("zeiss", "Zeiss", r"VISUCAM(?: ?(?:\d{3}|NM/FA|PRO NM|LITE))?|CLARUS ?\d{3}|FF ?450(?:plus)?"),
    ("nidek", "Nidek", r"AFC-\d{3}|Mirante|NM-?200D"),
    ("kowa", "Kowa", r"nonmyd(?: ?WX| ?\d\w?)?|VX-\d{2}\w?|VK-\d"),
    ("optos", "Optos", r"Daytona(?: Plus)?|California|Silverstone|Monaco|P?200(?:Tx|DTx|C|MA)"),
    ("heidelberg", "Heidelberg Engineering", r"Spectralis|HRA ?\d?"),
    ("centervue", "CenterVue", r"DRS ?(?:Plus)?|EIDON(?: (?:AF|FA))?"),
    ("icare", "iCare", r"DRSplus|EIDON(?: (?:AF|FA|Ultra-Widefield))?"),
    ("optomed", "Optomed", r"Aurora(?: IQ)?|Lumo|SmartScope(?: PRO)?"),
    ("remidio", "Remidio", r"FOP|Pristine|Instaris?"),
    ("forus", "Forus Health", r"3nethra(?: (?:classic|neo|royal|flora))?"),
    ("volk", "Volk", r"Pictor(?: (?:Plus|Prestige))?|VistaView"),
    ("crystalvue", "CrystalVue", r"NFC-\d{3}|TonoVue"),
    ("natus", "Natus", r"RetCam ?(?:\d|Shuttle|Envision)?"),
    ("phelcom", "Phelcom", r"Eyer ?2?"),
    ("welch allyn", "Welch Allyn", r"RetinaVue ?\d{3}"),
    ("huvitz", "Huvitz", r"HFC-\d"),
    ("tomey", "Tomey", r"TFC-\d{4}"),
)


def known_camera(manufacturer: str, model: str) -> tuple[str, str] | None:
    """Return (maker, model) in our words; the model is "" where it has no known shape.

    None for a maker that is not in the table.

    >>> known_camera("TOPCON Corp.", "TRC-NW8 of room 3")
    ('Topcon', 'TRC-NW8')
    """
    for word, maker, shapes in _MAKERS:
        if re.search(rf"\b{word}\b", manufacturer, re.IGNORECASE):
            found = re.search(rf"(?<!\w)(?:{shapes})(?!\w)", model, re.IGNORECASE)
            return maker, found[0] if found else ""
    return None


def camera_of(found: Any) -> tuple[str, str] | None:
    """Return the same for a pydicom dataset."""
    texts = (str(found.get(k) or "") for k in ("Manufacturer", "ManufacturerModelName"))
    return known_camera(*texts)
