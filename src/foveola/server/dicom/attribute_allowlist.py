"""What is kept of a DICOM object: a list, and for each attribute the form its value must have.

PS3.15 Annex E lists what to remove. A list of what to keep is the safer side of the same
profile: an attribute that nobody thought of is not kept. And no free text is: a text is kept
only where it is one of the words listed here, and codes get the meaning that the standard's
dictionary gives them. Runs in the limited child only.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.sr import _concepts_dict

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
