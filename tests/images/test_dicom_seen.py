"""What decides how a DICOM image looks: finite and plausible, or refused by name; the stream wins.

Every case is tried at both doors: as a file, and after de-identification by an intake.
"""

from dataclasses import asdict
from io import BytesIO

import numpy as np
import pytest
import simplejpeg
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from dicoms import colours, compressed, encapsulated, to_bytes, with_pixels
from foveola.errors import ImageError
from foveola.images._dicom_frames import decode_frame
from foveola.images._dicom_object import form_of, read_object
from foveola.images.limits import Limits
from foveola.server.dicom.deidentify import rewrite

H = W = 64
LIMITS = Limits()
NAMES = {"pseudonym": "P-1", "study": "1.2.3", "series": "1.2.4", "instances": ["1.2.5"], "shift_days": 400}


def as_file(data):
    return data


def after_intake(data):
    _, (file,) = rewrite(data, limits=asdict(LIMITS), names=NAMES)
    return file


@pytest.fixture(params=[as_file, after_intake])
def seen(request):
    """What a door makes of a file."""

    def see(data):
        found = read_object(request.param(data), LIMITS)
        return decode_frame(found, form_of(found, LIMITS), 0)

    return see


def smooth(seed=0):
    """(H, W, 3) uint8, as a photograph is."""
    made = Image.fromarray(colours(9, 9, seed)).resize((W, H), Image.Resampling.BICUBIC)
    return np.asarray(made)


GREY = smooth()[..., 0]


def near(found, expected, most=2):
    assert np.abs(found.astype(int) - expected).mean() < most


def said_as(made, keyword, value):
    """Set an attribute to what pydicom would not let itself be set to."""
    made.add(DataElement(keyword, "DS", value, validation_mode=config.IGNORE))
    return made


# --- numbers ---

ABSURD = ("NaN", "nan", "inf", "-inf", "Infinity", "1e300", "-1e12", "wide")


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("WindowCenter", r"WindowCenter \(0028,1050\)"),
        ("WindowWidth", r"WindowWidth \(0028,1051\)"),
        ("RescaleSlope", r"RescaleSlope \(0028,1053\)"),
        ("RescaleIntercept", r"RescaleIntercept \(0028,1052\)"),
    ],
)
def test_a_number_that_is_none_is_refused_by_name(keyword, tag, value, monkeypatch, seen):
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    made = with_pixels(GREY, WindowCenter=128, WindowWidth=256)
    data = to_bytes(said_as(made, keyword, "7777" if value == "wide" else value))
    with pytest.raises(ImageError, match=tag):
        seen(data.replace(b"7777", b"wide"))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"RescaleSlope": "0.000", "RescaleIntercept": 100}, "RescaleSlope"),
        ({"WindowCenter": 128, "WindowWidth": 0}, "WindowWidth"),
        ({"WindowCenter": 128, "WindowWidth": -256}, "WindowWidth"),
        ({"WindowCenter": 128, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "WindowWidth"),
        ({"WindowCenter": 90_000, "WindowWidth": 256}, "WindowCenter"),  # all black
        ({"WindowCenter": -90_000, "WindowWidth": 256}, "WindowCenter"),  # all white
        ({"WindowCenter": 128, "WindowWidth": 90_000}, "WindowCenter"),  # all grey
        ({"WindowCenter": 1e4, "WindowWidth": 1e4, "VOILUTFunction": "SIGMOID"}, "WindowCenter"),
    ],
)
def test_what_makes_all_of_a_picture_alike_is_refused_by_name(said, named, seen):
    with pytest.raises(ImageError, match=named):
        seen(to_bytes(with_pixels(GREY, **said)))


def test_of_several_windows_the_first_counts_and_is_checked(monkeypatch, seen):
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    one = seen(to_bytes(with_pixels(GREY, WindowCenter=100, WindowWidth=150, RescaleSlope=1, RescaleIntercept=0)))
    for value in ("40", "NaN", "1e300"):
        made = with_pixels(GREY)
        for keyword, first in {
            "WindowCenter": 100,
            "WindowWidth": 150,
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
        }.items():
            said_as(made, keyword, [str(first), *[value] * 17])
        assert (seen(to_bytes(made)) == one).all()
        with pytest.raises(ImageError, match=r"WindowCenter \(0028,1050\)"):
            seen(to_bytes(said_as(made, "WindowCenter", ["NaN", "100"])))


def test_a_dark_photograph_whose_data_is_dark_is_taken_as_it_is(seen):
    dark = (GREY // 30).astype(np.uint8)
    assert (seen(to_bytes(with_pixels(dark)))[..., 0] == dark).all()
    black = np.zeros((H, W), np.uint8)
    assert not seen(to_bytes(with_pixels(black, WindowCenter=128, WindowWidth=256))).any()


def test_values_far_below_the_bits_stored_are_refused_by_name(seen):
    deep = GREY.astype(np.uint16) * 16  # of 12 bits, at most 15 of 255 where 16 are said
    with pytest.raises(ImageError, match=r"BitsStored \(0028,0101\)"):
        seen(to_bytes(with_pixels(deep)))
    assert seen(to_bytes(with_pixels(deep, bits=12))).max() > 100


def table(keyword, entries, bits, values):
    made, item = with_pixels(GREY), Dataset()
    item.LUTDescriptor, item.LUTData = [entries, 0, bits], values
    item["LUTData"].VR = "US"
    setattr(made, keyword, [item])
    return to_bytes(made)


@pytest.mark.parametrize(
    ("entries", "bits", "values"),
    [
        (256, 16, list(range(256))),  # 8-bit values in a table of 16 bits
        (256, 8, [7] * 256),
        (256, 8, [1, 2, 3]),
        (256, 99, list(range(256))),
    ],
)
def test_a_table_of_interest_that_shows_nothing_is_refused_by_name(entries, bits, values, seen):
    with pytest.raises(ImageError, match=r"VOILUTSequence \(0028,3010\)"):
        seen(table("VOILUTSequence", entries, bits, values))


def test_a_table_of_the_modality_is_applied_at_every_door(seen):
    found = seen(table("ModalityLUTSequence", 256, 8, [255 - i for i in range(256)]))
    negative = 255 - GREY.astype(int)
    span = negative.max() - negative.min()
    assert np.corrcoef(found[..., 0].ravel(), negative.ravel())[0, 1] > 0.999, span
    with pytest.raises(ImageError, match=r"ModalityLUTSequence \(0028,3000\)"):
        seen(table("ModalityLUTSequence", 256, 8, [9] * 256))


# --- attributes that are missing or contradict each other ---


@pytest.mark.parametrize(
    "keyword", ["PlanarConfiguration", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"]
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_what_is_missing_is_the_standards_default(keyword, syntax, seen):
    plain = syntax == ExplicitVRLittleEndian
    data = to_bytes(with_pixels(smooth())) if plain else compressed(smooth(), syntax)
    made = dcmread(BytesIO(data))
    delattr(made, keyword)
    assert (seen(to_bytes(made, syntax)) == smooth()).all()


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "PixelData", "PhotometricInterpretation"])
def test_what_has_no_default_is_named(keyword, seen):
    made = with_pixels(smooth())
    delattr(made, keyword)
    with pytest.raises(ImageError, match=rf"{keyword} \("):
        seen(to_bytes(made))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"PlanarConfiguration": 7}, "PlanarConfiguration"),
        ({"PixelRepresentation": 3}, "PixelRepresentation"),
        ({"HighBit": 15}, "HighBit"),
        ({"BitsStored": 0}, "BitsStored"),
        ({"BitsStored": 12}, "BitsStored"),
    ],
)
def test_what_contradicts_the_rest_is_named(said, named, seen):
    made = with_pixels(smooth())
    for keyword, value in said.items():
        setattr(made, keyword, value)
    with pytest.raises(ImageError, match=rf"{named} \(0028"):
        seen(to_bytes(made))


def test_samples_for_every_pixel_under_a_label_of_422_are_refused_for_that_reason(seen):
    with pytest.raises(ImageError, match=r"YBR_FULL_422, but PixelData .* three samples"):
        seen(to_bytes(with_pixels(smooth(), "YBR_FULL_422")))


# --- palettes ---

RNG = np.random.default_rng(7)
TABLE = RNG.integers(0, 256, (256, 3))
INDICES = np.asarray(RNG.integers(0, 256, (H, W)), np.uint8)


def palette(bits, data, name="PaletteColorLookupTable", entries=256, syntax=ExplicitVRLittleEndian):
    made = with_pixels(INDICES, "PALETTE COLOR")
    for colour, column in zip(("Red", "Green", "Blue"), TABLE.T, strict=True):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [entries, 0, bits])
        setattr(made, f"{name.replace('Palette', colour + 'Palette', 1)}Data", data(column))
    return to_bytes(made, syntax)


def segments(column, kind):
    """The same entries: a segment of numbers, then one that names it."""
    half = [0, 128, *column[:128]]
    return np.array([*half, 0, 128, *column[128:]], kind).tobytes()


PALETTES = {
    "8 bits": palette(8, lambda c: c.astype(np.uint8).tobytes()),
    "8 bits in words, said to be 16": palette(16, lambda c: c.astype("<u2").tobytes()),
    "8 bits in words, said to be 8": palette(8, lambda c: c.astype("<u2").tobytes()),
    "16 bits": palette(16, lambda c: (c * 257).astype("<u2").tobytes()),
    "16 bits, said to be 8": palette(8, lambda c: (c * 257).astype("<u2").tobytes()),
    "bytes, said to be 16": palette(16, lambda c: c.astype(np.uint8).tobytes()),
    "big-endian words": palette(16, lambda c: (c * 256).astype(">u2").tobytes(), syntax=ExplicitVRBigEndian),
    "segments of words": palette(16, lambda c: segments(c * 257, "<u2"), "SegmentedPaletteColorLookupTable"),
    "segments of words that hold 8 bits": palette(16, lambda c: segments(c, "<u2"), "SegmentedPaletteColorLookupTable"),
    "segments of bytes": palette(8, lambda c: segments(c, np.uint8), "SegmentedPaletteColorLookupTable"),
    "segments of words, said to be 8": palette(8, lambda c: segments(c, "<u2"), "SegmentedPaletteColorLookupTable"),
}


@pytest.mark.parametrize("kind", PALETTES)
def test_a_palette_gives_its_colours_however_it_is_written(kind, seen):
    assert (seen(PALETTES[kind]) == TABLE[INDICES]).all()


def test_segments_may_be_lines_and_name_others(seen):
    line = np.array([0, 1, 0, 1, 255, 255 * 257], "<u2").tobytes()  # from 0 to white in 255 steps
    found = seen(palette(16, lambda c: line, "SegmentedPaletteColorLookupTable"))
    assert np.abs(found.astype(int) - INDICES[..., None]).max() <= 1
    twice = np.array([0, 128, *range(0, 65536, 512), 2, 1, 0, 0], "<u2").tobytes()
    found = seen(palette(16, lambda c: twice, "SegmentedPaletteColorLookupTable"))
    assert (found[..., 0] == np.tile(np.arange(0, 256, 2), 2)[INDICES]).all()


@pytest.mark.parametrize(
    ("bits", "data", "entries"),
    [
        (12, lambda c: c.astype("<u2").tobytes(), 256),  # of a depth that there is not
        (8, lambda c: c[:100].astype(np.uint8).tobytes(), 256),
        (16, lambda c: bytes(512), 256),  # all black
        (8, lambda c: bytes([7] * 256), 256),  # all alike
        (16, lambda c: b"", 256),
    ],
)
def test_a_palette_that_shows_nothing_is_refused_by_name(bits, data, entries, seen):
    with pytest.raises(ImageError, match=r"RedPaletteColorLookupTable\w+ \(0028,1[12]01\)"):
        seen(palette(bits, data, entries=entries))


def test_palettes_of_different_lengths_are_refused_by_name(seen):
    made = with_pixels(INDICES, "PALETTE COLOR")
    for colour, entries in (("Red", 256), ("Green", 255), ("Blue", 256)):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [entries, 0, 8])
        setattr(made, f"{colour}PaletteColorLookupTableData", bytes(range(256)))
    with pytest.raises(ImageError, match="GreenPaletteColorLookupTableDescriptor"):
        seen(to_bytes(made))


# --- colours: the stream before the header ---

LABELS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
YCC = np.asarray(Image.fromarray(smooth()).convert("YCbCr"))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("transformed", [True, False])
@pytest.mark.parametrize("boxes", [0, 1])
def test_jpeg_2000_of_rgb_is_rgb_whatever_its_label(label, transformed, boxes, seen):
    """But for a bare stream without a transform, of which only the label says anything."""
    stream = encode_array(smooth(), photometric_interpretation=1, use_mct=transformed, codec_format=boxes)
    data = to_bytes(encapsulated(smooth(), [stream], label), JPEG2000Lossless)
    if boxes or transformed or not label.startswith("YBR_FULL"):
        near(seen(data), smooth(), 1)
    else:
        stream = encode_array(YCC, photometric_interpretation=1, use_mct=False)
        near(seen(to_bytes(encapsulated(YCC, [stream], label), JPEG2000Lossless)), smooth())


@pytest.mark.parametrize("label", LABELS)
def test_jpeg_2000_in_a_box_of_sycc_is_sycc_whatever_its_label(label, seen):
    stream = encode_array(YCC, photometric_interpretation=3, use_mct=False, codec_format=1)
    near(seen(to_bytes(encapsulated(YCC, [stream], label), JPEG2000Lossless)), smooth())


def test_jpeg_2000_that_contradicts_itself_is_refused(seen):
    stream = encode_array(smooth(), photometric_interpretation=1, codec_format=1)
    at = stream.find(b"colr\1")
    both = stream[: at + 10] + b"\x12" + stream[at + 11 :]
    with pytest.raises(ImageError, match="says both that it is sYCC and"):
        seen(to_bytes(encapsulated(smooth(), [both]), JPEG2000Lossless))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("said", [0, 1])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_has_the_sign_of_its_stream(signed, said, bits, seen):
    values = (GREY.astype(np.int32) << (bits - 8)) - ((1 << (bits - 1)) if signed else 0)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    stream = encode_array(values.astype(kind), photometric_interpretation=2, bits_stored=bits)
    made = encapsulated(GREY.astype(np.uint8 if bits == 8 else np.uint16), [stream], bits=bits)
    made.PixelRepresentation = said
    near(seen(to_bytes(made, JPEG2000Lossless))[..., 0], GREY)


@pytest.mark.parametrize(
    ("stream_bits", "allocated", "stored"),
    [(8, 16, 12), (8, 16, 16), (12, 16, 16), (12, 16, 10), (16, 16, 12), (12, 8, 8), (10, 16, 16)],
)
def test_jpeg_2000_has_the_bits_of_its_stream(stream_bits, allocated, stored, seen):
    values = GREY.astype(np.uint16) << (stream_bits - 8)
    kind = np.uint8 if stream_bits == 8 else np.uint16
    stream = encode_array(values.astype(kind), photometric_interpretation=2, bits_stored=stream_bits)
    made = encapsulated(GREY.astype(np.uint8 if allocated == 8 else np.uint16), [stream], bits=stored)
    near(seen(to_bytes(made, JPEG2000Lossless))[..., 0], GREY)


def test_a_sign_in_the_header_does_not_refuse_colours_that_have_none(seen):
    stream = encode_array(smooth(), photometric_interpretation=1)
    made = encapsulated(smooth(), [stream], "YBR_RCT", PixelRepresentation=1)
    made.PixelRepresentation = 1
    near(seen(to_bytes(made, JPEG2000Lossless)), smooth(), 1)


def test_a_stream_of_other_samples_than_the_header_says_is_refused_by_name(seen):
    stream = encode_array(smooth(), photometric_interpretation=1)
    with pytest.raises(ImageError, match=r"SamplesPerPixel \(0028,0002\) is 1, but"):
        seen(to_bytes(encapsulated(GREY, [stream]), JPEG2000Lossless))
    jpeg = simplejpeg.encode_jpeg(smooth())
    with pytest.raises(ImageError, match=r"SamplesPerPixel \(0028,0002\) is 1, but"):
        seen(to_bytes(encapsulated(GREY, [jpeg]), JPEGBaseline8Bit))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEGLosslessSV1])
def test_a_lossless_stream_of_fewer_bits_than_are_said_is_not_dark(syntax, seen):
    made = dcmread(BytesIO(compressed(GREY.astype(np.uint16) << 4, syntax)))
    stream_of_12 = with_pixels(GREY.astype(np.uint16) << 4, bits=12)
    assert made.BitsStored == 16
    with pytest.raises(ImageError, match="BitsStored"):  # 16 bits in the stream too
        seen(to_bytes(made, syntax))
    made.BitsStored, made.HighBit = 12, 11
    near(seen(to_bytes(made, syntax)), seen(to_bytes(stream_of_12)), 1)


def jpeg(colour, ids=None, adobe=None, jfif=False, subsampling="444"):
    """A JPEG whose samples are of this colour, that says so in these ways or not at all."""
    source = smooth() if colour == "YCbCr" else None
    if source is not None:
        data = simplejpeg.encode_jpeg(source, 97, "RGB", subsampling)
    else:
        out = BytesIO()
        Image.fromarray(smooth()).save(out, "JPEG", quality=97, keep_rgb=True)
        data = out.getvalue()
    for marker in (b"\xff\xe0", b"\xff\xee"):
        while (at := data.find(marker)) >= 0:
            data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    made = bytearray(data)
    frame, scan = data.find(b"\xff\xc0"), data.find(b"\xff\xda")
    for n, name in enumerate(ids or (1, 2, 3)):
        made[frame + 10 + 3 * n] = made[scan + 5 + 2 * n] = name
    data = bytes(made)
    if adobe is not None:
        data = data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe]) + data[2:]
    if jfif:
        data = data[:2] + b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + data[2:]
    return data


@pytest.mark.parametrize("label", LABELS[:3])
@pytest.mark.parametrize(
    "stream",
    [
        jpeg("YCbCr", jfif=True),
        jpeg("YCbCr", adobe=1),
        jpeg("YCbCr", adobe=1, ids=b"RGB"),
        jpeg("YCbCr", jfif=True, adobe=1),
        jpeg("YCbCr", subsampling="422"),
        jpeg("YCbCr", subsampling="420"),
        jpeg("RGB", adobe=0),
        jpeg("RGB", adobe=0, ids=b"RGB"),
        jpeg("RGB", ids=b"RGB"),
    ],
    ids=[
        "JFIF",
        "Adobe 1",
        "Adobe 1 with ids RGB",
        "JFIF and Adobe",
        "422",
        "420",
        "Adobe 0",
        "Adobe 0 with ids RGB",
        "ids RGB",
    ],
)
def test_a_jpeg_has_the_colours_that_it_says_whatever_its_label(stream, label, seen):
    near(seen(to_bytes(encapsulated(smooth(), [stream], label), JPEGBaseline8Bit)), smooth(), 6)


@pytest.mark.parametrize(("label", "colour"), [("RGB", "RGB"), ("YBR_FULL", "YCbCr")])
def test_a_jpeg_that_says_nothing_has_the_colours_of_its_label(label, colour, seen):
    made = encapsulated(smooth(), [jpeg(colour)], label)
    near(seen(to_bytes(made, JPEGBaseline8Bit)), smooth(), 6)


def test_a_jpeg_of_8_bits_is_not_dark_where_the_header_says_12(seen):
    stream = simplejpeg.encode_jpeg(np.ascontiguousarray(GREY[..., None]), 97, "GRAY")
    made = encapsulated(GREY.astype(np.uint16), [stream], bits=12, SOPInstanceUID=generate_uid())
    near(seen(to_bytes(made, JPEGBaseline8Bit))[..., 0], GREY, 3)
