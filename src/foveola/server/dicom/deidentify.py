"""De-identify a DICOM image: PS3.15 Basic Profile, with dates moved, by a list of what to keep.

    identify    who and what an object is
    rewrite     an object of its own for each frame, with what `allowlist` keeps
    describe    what the archive is told of a stored object

All three run in the limited child (`foveola.images.limited`), so that the program itself never
parses what a stranger sent.
"""

import datetime
import io
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGTransferSyntaxes

from foveola.errors import ImageError
from foveola.images._dicom_colors import COLOURS, Palette, palette_of
from foveola.images._dicom_frames import bare_colours, stored_values, stream_of
from foveola.images._dicom_object import JPEG_2000, SHADES, Form, camera_of, eye_of, form_of, read_object
from foveola.images.limits import Limits
from foveola.server.dicom.allowlist import KEPT, KEPT_GREY, clean_jpeg, clean_jpeg_2000, kept_of, meanings
from foveola.server.dicom.patients import marks_of

METHOD = "Foveola: PS3.15 Basic Profile by a keep list, dates moved"
_CODES = ("113100", "113107")  # the profile; longitudinal information with modified dates
_DATES = ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")
_SIDES = {"left": "L", "right": "R"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the archive is told of a de-identified frame.

    Attributes:
        eye: left, right or None.
        visit: the moved date of acquisition, ISO 8601, or None.
        camera: maker and model in our words, or None.
    """

    eye: str | None
    visit: str | None
    camera: str | None


def identify(data: bytes, *, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the fields of `Identity`.

    Raises:
        ImageError: no image that can be used, one with a burned-in annotation, or one whose
            UIDs are missing.
    """
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    if str(found.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        raise ImageError(
            "BurnedInAnnotation (0028,0301) is YES: the picture itself may show a name, so it is "
            "not taken; send it without its annotation"
        )
    born = read_date(found.get("PatientBirthDate"))
    return {
        "patient_id": str(found.get("PatientID") or ""),
        "issuer": str(found.get("IssuerOfPatientID") or ""),
        **marks_of(str(found.get("PatientName") or ""), born)._asdict(),
        "study": _uid(found, "StudyInstanceUID", "(0020,000D)"),
        "series": _uid(found, "SeriesInstanceUID", "(0020,000E)"),
        "instance": _uid(found, "SOPInstanceUID", "(0008,0018)"),
        "sop_class": str(found.SOPClassUID),
        "frames": form.frames,
    }, b""


def _uid(found: Dataset, keyword: str, tag: str) -> str:
    value = str(found.get(keyword) or "").strip()
    if not UID(value).is_valid:
        raise ImageError(f"{keyword} {tag} is missing or no UID; export the image again")
    return value


def rewrite(data: bytes, *, limits: dict[str, Any], names: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """Make one de-identified file a frame, one after the other.

    Args:
        data: the object.
        limits: of `foveola.images.decode.Limits`.
        names: the fields of `Names`.

    Returns:
        {"sizes": bytes of each file} and the files.

    Raises:
        ImageError: the pixels are damaged.
    """
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    files = [_file(found, form, frame, uid, names) for frame, uid in enumerate(names["instances"])]
    return {"sizes": [len(file) for file in files]}, files


def describe(data: bytes, *, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the fields of `Facts` of a stored file."""
    found = read_object(data, Limits(**limits))
    camera = " ".join(filter(None, (found.get("Manufacturer"), found.get("ManufacturerModelName"))))
    dates = (read_date(found.get(k)) for k in ("AcquisitionDateTime", *_DATES))
    date = next((date for date in dates if date is not None), None)
    facts = Facts(eye=eye_of(found), visit=date.isoformat() if date else None, camera=camera or None)
    return asdict(facts), b""


# --- one file ---


def _file(found: Dataset, form: Form, frame: int, uid: str, names: dict[str, Any]) -> bytes:
    made = kept_of(found, KEPT | (KEPT_GREY if form.photometric in SHADES else {}))
    if form.photometric == "PALETTE COLOR":
        _put_palette(made, palette_of(found))
    _name(made, found, uid, names)
    _move_dates(made, found, names["shift_days"])
    if (camera := camera_of(found)) is not None:
        made.Manufacturer = camera[0]
        if camera[1]:
            made.ManufacturerModelName = camera[1]
    if (eye := eye_of(found, frame)) is not None:
        made.ImageLaterality = _SIDES[eye]
    made.InstanceNumber = frame + 1
    syntax = _put_pixels(made, found, form, frame)
    return _written(made, syntax)


def _name(made: Dataset, found: Dataset, uid: str, names: dict[str, Any]) -> None:
    made.SOPClassUID = UID(str(found.SOPClassUID))
    made.SOPInstanceUID = uid
    made.StudyInstanceUID = names["study"]
    made.SeriesInstanceUID = names["series"]
    made.PatientID = made.PatientName = names["pseudonym"]
    for empty in (
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "SeriesNumber",
        "PatientOrientation",
    ):
        setattr(made, empty, None)
    made.setdefault("Modality", "OT")
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = METHOD
    made.DeidentificationMethodCodeSequence = Sequence()
    for value in _CODES:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = value, "DCM"
        code.CodeMeaning = meanings()["DCM", value][:64]
        made.DeidentificationMethodCodeSequence.append(code)
    made.LongitudinalTemporalInformationModified = "MODIFIED"


# --- dates ---


def read_date(value: Any) -> datetime.date | None:
    """Read the date of a DA or DT, YYYYMMDD or the older YYYY.MM.DD; None where it is none.

    >>> read_date("1961.03.05"), read_date("19610230")
    (datetime.date(1961, 3, 5), None)
    """
    text = str(value or "").strip()
    found = re.match(r"(\d{4})([.]?)(\d{2})\2(\d{2})", text, re.ASCII)
    if found is None or not 1900 <= int(found[1]) <= 2199:
        return None
    try:
        return datetime.date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        return None


def moved(date: datetime.date, days: int) -> str:
    """Move a date so many days, as a DA.

    >>> moved(datetime.date(2024, 3, 1), -1)
    '20240229'
    """
    return (date + datetime.timedelta(days)).strftime("%Y%m%d")


def _move_dates(made: Dataset, found: Dataset, days: int) -> None:
    """Dates without their times; what can't be moved is left out."""
    made.StudyDate = None
    for keyword in _DATES:
        if (date := read_date(found.get(keyword))) is not None:
            setattr(made, keyword, moved(date, days))
    if (date := read_date(found.get("AcquisitionDateTime"))) is not None:
        made.AcquisitionDateTime = moved(date, days)


# --- pixels ---


def _put_pixels(made: Dataset, found: Dataset, form: Form, frame: int) -> UID:
    """Put one frame's pixels into made; the transfer syntax they are in.

    JPEG, JPEG-LS and JPEG 2000 keep their compressed stream without its comments. The rest is
    stored plainly, without what may lie in unused bits or after the last pixel.
    """
    made.Rows, made.Columns, made.SamplesPerPixel = form.rows, form.columns, form.samples
    if "FrameIncrementPointer" in found or "NumberOfFrames" in found:
        made.NumberOfFrames = 1
    if form.samples == 3:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = form.photometric
    made.BitsAllocated, made.BitsStored, made.HighBit = form.allocated, form.bits, form.bits - 1
    made.PixelRepresentation = int(form.signed)
    clean = _cleaner(form.syntax)
    if clean is not None:
        stream = stream_of(found, form, frame)
        made.PhotometricInterpretation = bare_colours(stream, form)
        made.PixelData = encapsulate([clean(stream)])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        return form.syntax
    values = stored_values(found, form, frame)
    if form.photometric == "YBR_FULL_422":
        made.PhotometricInterpretation = "YBR_FULL"  # unpacked by now
    data = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OW" if values.itemsize == 2 else "OB"
    return UID(ExplicitVRLittleEndian)


def _put_palette(made: Dataset, palette: Palette) -> None:
    """Put the same colours as words, the one form of a table that every reader knows."""
    for colour, entries in zip(COLOURS, palette.entries.T, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        setattr(made, f"{name}Descriptor", [len(entries) % 2**16, palette.first, 16])
        setattr(made, f"{name}Data", (entries.astype("<u2") * 257).tobytes())
        made[f"{name}Data"].VR = "OW"


def _cleaner(syntax: UID) -> Any:
    if syntax in JPEG_2000:
        return clean_jpeg_2000
    if syntax in JPEGTransferSyntaxes or syntax.startswith("1.2.840.10008.1.2.4.8"):
        return clean_jpeg
    return None


def _written(made: Dataset, syntax: UID) -> bytes:
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()
