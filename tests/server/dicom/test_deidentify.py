"""What is left of a DICOM object: nothing that says who it is."""

import datetime
import io
from dataclasses import asdict

import numpy as np
import pytest
import simplejpeg
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicoms import OPHTHALMIC_16, colours, compressed, encapsulated, header, to_bytes, with_pixels
from foveola.errors import ImageError
from foveola.images._dicom_object import known_camera
from foveola.images.decode import decode
from foveola.images.limited import POOL
from foveola.images.limits import DEFAULT_LIMITS
from foveola.server.dicom.allowlist import clean_jpeg, clean_jpeg_2000
from foveola.server.dicom.deidentify import read_date
from marks import MARK, UIDS, planted

LIMITS = asdict(DEFAULT_LIMITS)
NAMES = {
    "pseudonym": "PBCDFGHJKLMNP",
    "shift_days": -400,
    "study": "2.25.1",
    "series": "2.25.2",
    "instances": ["2.25.3"],
}


def call(name, data, **arguments):
    """As `Intake` calls it, in the limited child."""
    return POOL.call(f"foveola.server.dicom.deidentify:{name}", data, seconds=20, limits=LIMITS, **arguments)


def rewritten(made, syntax=ExplicitVRLittleEndian, **names):
    """The one file that is kept of an object."""
    data = made if isinstance(made, bytes) else to_bytes(made, syntax)
    sizes, files = call("rewrite", data, names=NAMES | names)
    assert sizes["sizes"] == [len(files)]
    return files


@pytest.fixture(scope="module", name="planted")
def full_of_marks():
    return planted(colours())


def test_a_mark_in_every_attribute_is_in_no_file(planted):
    assert planted.count(MARK.encode()) > 5000
    file = rewritten(planted)
    assert MARK.encode() not in file.upper()
    assert b"MUST" not in file.upper()
    for part in (MARK.encode("utf-16-le"), MARK[::-1].encode()):
        assert part not in file
    assert (decode(file) == colours()).all()


def test_facts_of_an_object_full_of_marks_hold_none_but_the_patient(planted):
    facts, _ = call("identify", planted)
    assert facts.pop("patient_id") == facts.pop("issuer") == MARK
    assert MARK not in repr(facts)
    assert MARK not in repr(call("describe", rewritten(planted)))


def test_the_mark_in_the_file_meta_information_is_left_behind():
    made = with_pixels(colours())
    data = to_bytes(made)
    found = dcmread(io.BytesIO(data))
    found.file_meta.SourceApplicationEntityTitle = MARK
    found.file_meta.PrivateInformationCreatorUID = "1.2.3.4.777"
    found.file_meta.PrivateInformation = MARK.encode()
    out = io.BytesIO()
    found.save_as(out, enforce_file_format=True)
    assert MARK.encode() in out.getvalue()
    file = rewritten(out.getvalue())
    assert MARK.encode() not in file
    assert b"1.2.3.4.777" not in file


def test_original_uids_and_numbers_are_replaced():
    made = with_pixels(colours(), AccessionNumber="A-99", StudyID="S-88", PatientBirthDate="19500102")
    before = {made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID}
    file = rewritten(made)
    for gone in (*before, "A-99", "S-88", "19500102", "4711", "Doe", "Jane"):
        assert gone.encode() not in file
    found = dcmread(io.BytesIO(file))
    assert (found.StudyInstanceUID, found.SeriesInstanceUID) == ("2.25.1", "2.25.2")
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID == "2.25.3"
    assert found.PatientID == str(found.PatientName) == NAMES["pseudonym"]
    assert found.PatientIdentityRemoved == "YES"
    assert found.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]


def test_what_is_known_and_harmless_is_kept():
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "81745001", "SCT", "Auge Doe"
    made = with_pixels(
        colours(),
        Manufacturer="TOPCON Corp.",
        ManufacturerModelName="TRC-NW8 (Dr. Doe)",
        AnatomicRegionSequence=[code],
        ImageType=["ORIGINAL", "PRIMARY", "DOE"],
        HorizontalFieldOfView=45.0,
        PupilDilated="YES",
    )
    found = dcmread(io.BytesIO(rewritten(made)))
    assert (found.Manufacturer, found.ManufacturerModelName) == ("Topcon", "TRC-NW8")
    meaning = found.AnatomicRegionSequence[0].CodeMeaning
    assert meaning == "Structure of eye proper (body structure)"  # the dictionary's
    assert list(found.ImageType) == ["ORIGINAL", "PRIMARY"]
    assert (found.HorizontalFieldOfView, found.PupilDilated) == (45.0, "YES")
    assert found.ImageLaterality == "L"
    facts, _ = call("describe", rewritten(made))
    assert facts == {"eye": "left", "visit": "2019-01-29", "camera": "Topcon TRC-NW8"}


@pytest.mark.parametrize(
    ("maker", "model", "known"),
    [
        ("TOPCON", "TRC-NW400", ("Topcon", "TRC-NW400")),
        ("Carl Zeiss Meditec", "CLARUS 500", ("Zeiss", "CLARUS 500")),
        ("Canon Inc.", "CR-2 Plus AF", ("Canon", "CR-2 Plus AF")),
        ("Canon Inc.", "Mustermann", ("Canon", "")),
        ("Mustermann", "TRC-NW400", None),
        ("", "", None),
    ],
)
def test_a_camera_is_named_in_our_words_or_not_at_all(maker, model, known):
    assert known_camera(maker, model) == known


def test_a_burned_in_annotation_is_refused():
    made = with_pixels(colours(), BurnedInAnnotation="YES")
    with pytest.raises(ImageError, match=r"BurnedInAnnotation \(0028,0301\) is YES"):
        call("identify", to_bytes(made))
    call("identify", to_bytes(with_pixels(colours(), BurnedInAnnotation="NO")))


@pytest.mark.parametrize("keyword", sorted(UIDS))
def test_an_object_without_its_uids_is_refused(keyword):
    made = with_pixels(colours())
    data = to_bytes(made)
    value = str(made[keyword].value).encode()
    with pytest.raises(ImageError, match=f"{keyword} .* is missing or no UID"):
        call("identify", data.replace(value, b"x" * len(value)))


# --- dates ---


def test_two_visits_keep_their_interval():
    visits = []
    for day in ("20191231", "20200301"):
        made = with_pixels(colours(), StudyDate=day, AcquisitionDateTime=f"{day}101112.5")
        visits.append(dcmread(io.BytesIO(rewritten(made))))
    first, second = (read_date(found.AcquisitionDateTime) for found in visits)
    assert (second - first).days == 61  # January has 31 days, February 29, one more to March
    assert first == datetime.date(2019, 12, 31) - datetime.timedelta(days=400)
    assert all(found.StudyDate == found.AcquisitionDateTime for found in visits)
    assert not any(found.StudyTime for found in visits)


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("20200304", datetime.date(2020, 3, 4)),
        ("2020.03.04", datetime.date(2020, 3, 4)),
        ("20200304101112.123+0100", datetime.date(2020, 3, 4)),
        ("20200230", None),
        ("00010101", None),
        ("2020", None),
        ("MUSTERMA", None),
        (None, None),
    ],
)
def test_a_date_is_read_or_left_out(value, date):
    assert read_date(value) == date


# --- pixels ---


@pytest.mark.parametrize(
    "data",
    [
        compressed(colours(), RLELossless),
        compressed(colours(), JPEGLSLossless),
        compressed(colours(), JPEGLosslessSV1),
        compressed(colours(), JPEG2000Lossless),
        to_bytes(with_pixels(colours(), "YBR_FULL")),
        to_bytes(with_pixels(colours()[..., 0], "MONOCHROME1", WindowCenter=99, WindowWidth=50)),
        to_bytes(with_pixels(colours()[..., 0].astype("u2") * 7, bits=11, sop_class=OPHTHALMIC_16)),
    ],
    ids=["RLE", "JPEG-LS", "JPEG Lossless", "JPEG 2000", "YBR_FULL", "MONOCHROME1", "16 bits"],
)
def test_not_one_pixel_changes(data):
    assert (decode(rewritten(data)) == decode(data)).all()


def test_nothing_hides_in_unused_bits_or_behind_the_last_pixel():
    values = (np.arange(72 * 80).reshape(72, 80) % 4096).astype(np.uint16)
    made = with_pixels(values | 0x8000, bits=12)
    made.PixelData += MARK.encode()
    found = dcmread(io.BytesIO(rewritten(made)))
    assert found.PixelData == values.tobytes()


def jpeg_with_mark():
    image = Image.fromarray(colours(96, 96))
    exif = Image.Exif()
    exif[0x010E] = MARK
    saved = io.BytesIO()
    image.save(saved, "JPEG", exif=exif, comment=MARK, progressive=True)
    return saved.getvalue() + MARK.encode()


def test_a_jpeg_loses_its_comments_and_no_pixel():
    jpeg = jpeg_with_mark()
    assert jpeg.count(MARK.encode()) == 3
    clean = clean_jpeg(jpeg)
    assert MARK.encode() not in clean
    assert (decode(clean) == decode(jpeg)).all()
    data = to_bytes(encapsulated(colours(96, 96), [jpeg], "YBR_FULL_422"), JPEGBaseline8Bit)
    file = rewritten(data)
    assert MARK.encode() not in file
    assert (decode(file) == decode(data)).all()
    assert dcmread(io.BytesIO(file)).file_meta.TransferSyntaxUID == JPEGBaseline8Bit


def test_a_jpeg_keeps_what_says_its_colours_without_the_thumbnail():
    jpeg = simplejpeg.encode_jpeg(colours())
    at = jpeg.find(b"\xff\xe0")
    length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
    thumbnail = b"JFIF\0\1\1\0\0\1\0\1\1\1" + b"\x99\x98\x97"
    grown = jpeg[: at + 2] + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + jpeg[at + 2 + length :]
    clean = clean_jpeg(grown)
    assert b"\x99\x98\x97" not in clean
    assert b"JFIF" in clean
    assert (decode(clean) == decode(jpeg)).all()


def test_a_jpeg_2000_loses_its_comments_and_no_pixel():
    stream = encode_array(colours(), photometric_interpretation=1)
    comment = b"\xff\x64" + (len(MARK) + 4).to_bytes(2, "big") + b"\0\1" + MARK.encode()
    at = stream.find(b"\xff\x90")  # before the first tile part
    marked = b"\0\0\0\x0cjP  \r\n\x87\n" + MARK.encode() + stream[:at] + comment + stream[at:]
    clean = clean_jpeg_2000(marked + MARK.encode())
    assert MARK.encode() not in clean
    data = to_bytes(encapsulated(colours(), [clean]), JPEG2000Lossless)
    assert (decode(data) == colours()).all()


@pytest.mark.parametrize("end", [0, 3, 40, 300, -2])
def test_a_jpeg_that_is_cut_off_is_told(end):
    with pytest.raises(ImageError, match="damaged or cut off"):
        clean_jpeg(simplejpeg.encode_jpeg(colours())[:end])


@pytest.mark.parametrize("end", [0, 3, 40])
def test_a_jpeg_2000_whose_header_is_cut_off_is_told(end):
    with pytest.raises(ImageError, match="damaged or cut off"):
        clean_jpeg_2000(encode_array(colours(), photometric_interpretation=1)[:end])


def test_each_frame_becomes_a_file_of_its_own():
    frames = np.stack([colours(seed=n) for n in range(3)])
    streams = [simplejpeg.encode_jpeg(frame) for frame in frames]
    made = encapsulated(frames, streams, "YBR_FULL_422", frames=3)
    sizes, files = call(
        "rewrite", to_bytes(made, JPEGBaseline8Bit), names=NAMES | {"instances": ["2.25.3", "2.25.4", "2.25.5"]}
    )
    start = 0
    for n, size in enumerate(sizes["sizes"]):
        file = files[start : start + size]
        found = dcmread(io.BytesIO(file))
        assert (found.SOPInstanceUID, found.InstanceNumber) == (f"2.25.{n + 3}", n + 1)
        assert found.NumberOfFrames == 1
        assert (decode(file) == decode(streams[n])).all()
        start += size


def test_windows_and_tables_are_kept_where_they_mean_something():
    window = {"WindowCenter": "127.5", "WindowWidth": "256", "RescaleSlope": "1.5259021896e-05"}
    grey = dcmread(io.BytesIO(rewritten(with_pixels(colours()[..., 0], **window))))
    assert (grey.WindowCenter, grey.WindowWidth) == (127.5, 256)
    assert grey.RescaleSlope == 1.52590219e-05  # to ten digits
    assert "WindowCenter" not in dcmread(io.BytesIO(rewritten(with_pixels(colours(), **window))))


def test_a_report_is_no_image():
    with pytest.raises(ImageError, match="Comprehensive SR"):
        call("identify", to_bytes(header("1.2.840.10008.5.1.4.1.1.88.33")))
