"""What is kept of a DICOM object: which attributes in which form, and which segments of a compressed picture.

PS3.15 Annex E lists what to remove. A list of what to keep is the safer side of the same
profile: an attribute that nobody thought of is not kept. And no free text is: a text is kept
only where it is one of the words listed here, and codes get the meaning that the standard's
dictionary gives them. Of compressed pictures only the segments that a decoder needs are kept, so
that the pixels stay the same to the bit: a JPEG in an object may carry a patient's name in a
comment as well as one in a file. Runs in the limited child only.
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.sr import _concepts_dict

from foveola.errors import ImageError

Rule = Callable[[Any], Any]  # a value to what is kept of it; None keeps nothing
LARGEST = 1e5  # of a kept number: window centres of 16 bits, and no patient number of six digits


def numbers(most: int = 2) -> Rule:
    """Keep numbers as text, at most so many of them, each within LARGEST, with 10 digits.

    >>> numbers()("0.25"), numbers()([1, 2, 3])
    (['0.25'], None)
    """

    def keep(value: Any) -> Any:
        try:
            values = [float(item) for item in _listed(value)]
        except (TypeError, ValueError):
            return None
        if not 1 <= len(values) <= most or not all(abs(v) <= LARGEST for v in values):
            return None
        return [f"{v:.10g}" for v in values] if all(map(math.isfinite, values)) else None

    return keep


def first_number(value: Any) -> Any:
    """The first of several numbers, as `numbers` keeps it: what decides how a picture looks is no other."""
    return numbers(1)(next(iter(_listed(value)), None))


def words(*known: str) -> Rule:
    """Keep those of the values that are in a list of words.

    >>> words("YES", "NO")("YES "), words("YES", "NO")("Anna")
    (['YES'], None)
    """

    def keep(value: Any) -> Any:
        kept = [str(item).strip() for item in _listed(value)]
        return [item for item in kept if item in known] or None

    return keep


def leading(*known: tuple[str, ...]) -> Rule:
    """Keep the first values as long as each is in the list for its place."""

    def keep(value: Any) -> Any:
        kept: list[str] = []
        for item, allowed in zip(_listed(value), known, strict=False):
            if str(item).strip() not in allowed:
                break
            kept.append(str(item).strip())
        return kept or None

    return keep


def data(most: int) -> Rule:
    """Keep binary data of at most so many bytes."""
    return lambda value: value if isinstance(value, bytes) and len(value) <= most else None


def whole(most: int = 3) -> Rule:
    """Keep binary whole numbers (US, SS), at most so many."""

    def keep(value: Any) -> Any:
        values = list(_listed(value))
        sound = 1 <= len(values) <= most and all(isinstance(v, int) for v in values)
        return values if sound else None

    return keep


def measured(value: Any) -> Any:
    """Keep one binary floating-point number (FL, FD)."""
    return value if isinstance(value, float) and abs(value) <= LARGEST else None


def tables(value: Any) -> Any:
    """Keep the first VOI or modality table, without its explanation."""
    rules = {"LUTDescriptor": whole(), "LUTData": _table}
    kept = [kept_of(item, rules) for item in list(value)[:1]]
    if not kept or len(kept[0]) != len(rules):
        return None
    if not isinstance(kept[0].LUTData, bytes):
        kept[0]["LUTData"].VR = "US"
    return Sequence(kept)


def _table(value: Any) -> Any:
    return data(2**17)(value) if isinstance(value, bytes) else whole(2**16)(value)


def agents(value: Any) -> Any:
    """Keep what the pupil was widened with, as codes."""
    rules = {"MydriaticAgentCodeSequence": codes}
    kept = [kept_of(item, rules) for item in list(value)[:4]]
    return Sequence([item for item in kept if len(item)]) or None


def profile(value: Any) -> Any:
    """Keep an ICC profile of at most 4 MiB."""
    is_one = isinstance(value, bytes) and value[36:40] == b"acsp" and len(value) <= 2**22
    return value if is_one else None


def codes(value: Any) -> Any:
    """Keep of a sequence of codes those that the standard's dictionary has, with its meaning."""
    if not isinstance(value, Sequence):
        return None
    kept = []
    for item in list(value)[:8]:
        scheme, code = str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", ""))
        if (meaning := meanings().get((scheme.strip(), code.strip()))) is not None:
            made = Dataset()
            made.CodeValue, made.CodingSchemeDesignator = code.strip(), scheme.strip()
            made.CodeMeaning = meaning[:64]
            kept.append(made)
    return Sequence(kept) if kept else None


@cache
def meanings() -> dict[tuple[str, str], str]:
    """Return the meaning of every code in the dictionary, by (scheme, value)."""
    concepts: dict[str, dict[str, dict[str, tuple[str, list[int]]]]]
    concepts = cast(Any, _concepts_dict).concepts
    return {
        (scheme, code): meaning
        for scheme in ("SCT", "DCM", "UCUM")
        for known in concepts[scheme].values()
        for code, (meaning, _) in known.items()
    }


def kept_of(found: Dataset, rules: Mapping[str, Rule]) -> Dataset:
    """Make a new dataset with what the rules keep."""
    made = Dataset()
    for keyword, rule in rules.items():
        if keyword not in found:
            continue
        try:
            value = rule(found[keyword].value)
            if value is not None:
                setattr(made, keyword, value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            continue  # an odd value is none to keep
    return made


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, MultiValue | list) else [value]


# Attributes that pixels need are set by `deidentify` from what the decoder has read.
KEPT: dict[str, Rule] = {
    "ImageType": leading(
        ("ORIGINAL", "DERIVED"),
        ("PRIMARY", "SECONDARY"),
        ("", "MONTAGE", "COLOR", "REDFREE", "RED", "GREEN", "BLUE", "FLUORESCEIN", "AUTOFLUO"),
    ),
    "Modality": words("OP", "XC", "OT", "ES", "GM"),
    "ConversionType": words("DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"),
    "BurnedInAnnotation": words("NO"),
    "RecognizableVisualFeatures": words("NO"),
    "LossyImageCompression": words("00", "01"),
    "LossyImageCompressionMethod": words("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"),
    "LossyImageCompressionRatio": numbers(4),
    "PresentationLUTShape": words("IDENTITY", "INVERSE"),
    "ColorSpace": words("SRGB", "ADOBERGB", "ROMMRGB"),
    "ICCProfile": profile,
    "PixelAspectRatio": words("1"),
    "PixelSpacing": numbers(),
    "HorizontalFieldOfView": measured,
    "EmmetropicMagnification": measured,
    "PupilDilated": words("YES", "NO"),
    "PatientEyeMovementCommanded": words("YES", "NO"),
    "DetectorType": words("CCD", "CMOS", "PHOTO", "INT", "SCAN"),
    "AnatomicRegionSequence": codes,
    "AcquisitionDeviceTypeCodeSequence": codes,
    "IlluminationTypeCodeSequence": codes,
    "LightPathFilterTypeStackCodeSequence": codes,
    "ImagePathFilterTypeStackCodeSequence": codes,
    "LensesCodeSequence": codes,
    "MydriaticAgentSequence": agents,
}

KEPT_GREY: dict[str, Rule] = {
    "WindowCenter": first_number,
    "WindowWidth": first_number,
    "VOILUTFunction": words("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "VOILUTSequence": tables,
    "ModalityLUTSequence": tables,
    "RescaleIntercept": first_number,
    "RescaleSlope": first_number,
    "RescaleType": words("US", "OD"),
}


# --- JPEG: ITU-T T.81, annex B; JPEG-LS: T.87 ---

_EOI, _SOS, _APP0, _APP8, _APP14 = 0xD9, 0xDA, 0xE0, 0xE8, 0xEE
# Frames, tables, scans; SOF55 and LSE of JPEG-LS.
_DECODES = {*range(0xC0, 0xD0), *range(_SOS, _APP0), 0xF7, 0xF8}
_DAMAGED = "the {} in PixelData (7FE0,0010) is damaged or cut off; copy or send it again"


def clean_jpeg(stream: bytes) -> bytes:
    """Keep of a JPEG or JPEG-LS of any process, from SOI to EOI, the segments that decode it.

    Of the application's segments three say what the colours are, and only that is kept of them:
    JFIF (without its thumbnail), Adobe's, and the transform of JPEG-LS.

    Raises:
        ImageError: it is damaged or has no end.
    """
    kept = [b"\xff\xd8"]
    for marker, payload, scan in _segments(stream):
        if marker == _EOI:
            return b"".join([*kept, b"\xff\xd9"])
        if (needed := _needed(marker, payload)) is not None:
            kept += [b"\xff", bytes([marker]), struct.pack(">H", len(needed) + 2), needed, scan]
    raise ImageError(_DAMAGED.format("JPEG"))


def _needed(marker: int, payload: bytes) -> bytes | None:
    if marker == _APP0 and payload[:5] == b"JFIF\0" and len(payload) >= 12:
        return payload[:12] + b"\0\0"
    if marker == _APP14 and payload[:5] == b"Adobe" and len(payload) >= 12:
        return payload[:12]
    if marker == _APP8 and payload[:4] == b"mrfx":
        return payload[:5]
    return payload if marker in _DECODES else None


def _segments(stream: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(marker, payload, coded data after it) of each segment, the last being EOI."""
    if stream[:2] != b"\xff\xd8":
        raise ImageError(_DAMAGED.format("JPEG"))
    at = 2
    while at + 2 <= len(stream):
        marker = stream[at + 1]
        if stream[at] != 0xFF or marker == 0xFF:
            at += 1  # fill bytes
            continue
        if marker == _EOI:
            yield marker, b"", b""
            return
        if at + 4 > len(stream):
            break
        (length,) = struct.unpack_from(">H", stream, at + 2)
        end = at + 2 + max(length, 2)
        after = _next_marker(stream, end) if marker == _SOS else end
        yield marker, stream[at + 4 : end], stream[end:after]
        at = after
    raise ImageError(_DAMAGED.format("JPEG"))


def _next_marker(stream: bytes, at: int) -> int:
    """Where the coded data that begins at `at` ends: a marker that is no restart.

    After FF the coded data of JPEG has a 0, that of JPEG-LS a byte below 128.
    """
    while (at := stream.find(b"\xff", at)) >= 0 and at + 1 < len(stream):
        follows = stream[at + 1]
        if follows >= 0x80 and follows != 0xFF and not 0xD0 <= follows <= 0xD7:
            return at
        at += 1
    raise ImageError(_DAMAGED.format("JPEG"))


# --- JPEG 2000: ITU-T T.800, annex A ---

_SOT, _SOD, _EOC = 0xFF90, 0xFF93, 0xFFD9
_NEEDED = {*range(0xFF50, 0xFF54), 0xFF55, *range(0xFF57, 0xFF5A), *range(0xFF5C, 0xFF62), 0xFF63, _SOT}


def clean_jpeg_2000(stream: bytes) -> bytes:
    """Return a JPEG 2000 codestream with its comments blanked; a JP2 file's boxes are left out.

    Comments are overwritten in place, as tile parts state their lengths.

    Raises:
        ImageError: it is damaged or cut off.
    """
    start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise ImageError(_DAMAGED.format("JPEG 2000"))
    made = bytearray(stream[start:])
    try:
        end = _blank(made)
    except struct.error:
        raise ImageError(_DAMAGED.format("JPEG 2000")) from None
    return bytes(made[:end])


def _blank(made: bytearray) -> int:
    """Blank what is not needed in every header; where the codestream ends."""
    at, part_end = 2, 0
    while at + 2 <= len(made):
        (marker,) = struct.unpack_from(">H", made, at)
        if marker == _EOC:
            return at + 2
        if marker == _SOD:
            if part_end <= at:  # the last tile part reaches to the end
                end = made.rfind(b"\xff\xd9")
                return end + 2 if end > at else len(made)
            at = part_end
            continue
        (length,) = struct.unpack_from(">H", made, at + 2)
        if length < 2 or at + 2 + length > len(made):
            raise ImageError(_DAMAGED.format("JPEG 2000"))
        if marker == _SOT:
            (part,) = struct.unpack_from(">I", made, at + 6)
            part_end = at + part if part else 0
        elif marker not in _NEEDED:
            made[at + 4 : at + 2 + length] = bytes(length - 2)
        at += 2 + length
    return min(at, len(made))
