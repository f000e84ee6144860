"""DICOM pixels, right to the bit: every kind and transfer syntax, against slow computations."""

import io
import subprocess
import sys
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import simplejpeg
from openjpeg.utils import encode_array
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicoms import SECONDARY_CAPTURE, VL_PHOTOGRAPHIC, colours, compressed, encapsulated, header, to_bytes, with_pixels
from foveola.errors import ImageError, MissingExtraError
from foveola.images.decode import decode, dicom_facts, peek, stated

H, W = 66, 70
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def grey(bits=8, signed=False, seed=1):
    """(H, W) of all values that fit the bits, the extremes among them."""
    low = -(1 << (bits - 1)) if signed else 0
    rng = np.random.default_rng(seed)
    made = rng.integers(low, low + (1 << bits), (H, W))
    made[0, :2] = low, low + (1 << bits) - 1
    return made.astype(np.uint8 if bits <= 8 else np.int16 if signed else np.uint16)


def nearest(value):
    """Of a fraction; halves up."""
    return floor(value + Fraction(1, 2))


def clipped(value):
    return min(max(nearest(value), 0), 255)


def shown(image):
    """One channel of a grey picture; all three are the same."""
    assert (image == image[..., :1]).all()
    return image[..., 0]


# --- transfer syntaxes ---


@pytest.mark.parametrize("syntax", PLAIN, ids=lambda uid: uid.name)
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_not_compressed_comes_as_it_is(syntax, bits):
    if bits == 8:
        assert (decode(to_bytes(with_pixels(colours(H, W)), syntax)) == colours(H, W)).all()
    else:
        wide = grey(16)
        expected = [clipped(Fraction(int(v) * 255, 65535)) for v in wide.flat]
        found = shown(decode(to_bytes(with_pixels(wide), syntax)))
        assert found.ravel().tolist() == expected


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEGLosslessSV1, JPEGLossless, JPEG2000Lossless], ids=lambda uid: uid.name
)
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits"])
def test_lossless_compression_changes_no_bit(syntax, kind):
    pixels = {"colour": colours(H, W), "grey": grey(8), "16 bits": grey(16)}[kind]
    plain = decode(to_bytes(with_pixels(pixels)))
    assert (decode(compressed(pixels, syntax)) == plain).all()


def test_jpeg_ls_with_a_small_error_is_that_near():
    pixels = grey(8)
    found = shown(decode(compressed(pixels, JPEGLSNearLossless, jls_error=3))).astype(int)
    assert 0 < np.abs(found - pixels).max() <= 3


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG2000], ids=lambda uid: uid.name)
@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_jpeg_2000_undoes_its_own_colour_transform(syntax, photometric):
    mct = photometric != "RGB"
    ratios = {"compression_ratios": [2]} if photometric == "YBR_ICT" else {}
    smooth = np.asarray(Image.fromarray(colours(9, 9)).resize((W, H), Image.Resampling.BICUBIC))
    stream = encode_array(smooth, photometric_interpretation=1, use_mct=mct, **ratios)
    found = decode(to_bytes(encapsulated(smooth, [stream], photometric), syntax))
    if photometric == "YBR_ICT":
        assert np.abs(found.astype(int) - smooth).max() <= 12
    else:
        assert (found == smooth).all()


@pytest.fixture(scope="module")
def photograph():
    """(280, 300, 3), smooth as photographs are."""
    return np.asarray(Image.fromarray(colours(20, 20)).resize((300, 280), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("min_side", [None, 100])
def test_a_jpeg_gives_the_same_pixels_in_a_file_and_in_dicom(photograph, subsampling, min_side):
    jpeg = simplejpeg.encode_jpeg(photograph, 90, "RGB", subsampling)
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        wrapped = to_bytes(encapsulated(photograph, [jpeg], "YBR_FULL_422"), syntax)
        assert (decode(wrapped, min_side=min_side) == decode(jpeg, min_side=min_side)).all()


def without_segments(jpeg, *markers):
    """A JPEG without these segments, and so without a word on its colours."""
    for marker in markers:
        while (at := jpeg.find(marker)) >= 0:
            length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
            jpeg = jpeg[:at] + jpeg[at + 2 + length :]
    return jpeg


def with_ids(jpeg):
    """A JPEG whose components are called 1, 2, 3 and no longer R, G, B."""
    made = bytearray(jpeg)
    frame, scan = jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xda")
    for n in range(3):
        made[frame + 10 + 3 * n] = made[scan + 5 + 2 * n] = n + 1
    return bytes(made)


def test_a_jpeg_that_does_not_name_its_colours_has_those_of_the_header(photograph):
    saved = io.BytesIO()
    Image.fromarray(photograph).save(saved, "JPEG", quality=95, keep_rgb=True)
    bare = without_segments(saved.getvalue(), b"\xff\xe0", b"\xff\xee")
    bare = with_ids(bare)
    found = decode(to_bytes(encapsulated(photograph, [bare], "RGB"), JPEGBaseline8Bit))
    assert np.abs(found.astype(int) - photograph).mean() < 2
    jpeg = simplejpeg.encode_jpeg(photograph, 95)
    bare = without_segments(jpeg, b"\xff\xe0")
    found = decode(to_bytes(encapsulated(photograph, [bare], "YBR_FULL_422"), JPEGBaseline8Bit))
    assert (found == decode(jpeg)).all()


def test_a_jpeg_is_believed_where_its_header_errs(photograph):
    jpeg = simplejpeg.encode_jpeg(photograph, 90)  # JFIF: YCbCr
    wrapped = to_bytes(encapsulated(photograph, [jpeg], "RGB"), JPEGBaseline8Bit)
    assert (decode(wrapped) == decode(jpeg)).all()


# --- colours ---


def slow_rgb(y, cb, cr):
    """ITU-T T.871 in fractions, one pixel."""
    y, cb, cr = int(y), int(cb) - 128, int(cr) - 128
    red = y + Fraction("1.402") * cr
    green = y - (Fraction("0.114") * Fraction("1.772") * cb + Fraction("0.299") * Fraction("1.402") * cr) / Fraction(
        "0.587"
    )
    blue = y + Fraction("1.772") * cb
    return clipped(red), clipped(green), clipped(blue)


def test_ybr_full_is_right_to_the_bit():
    ybr = colours(H, W)
    ybr[0, :8] = [(a, b, c) for a in (0, 255) for b in (0, 255) for c in (0, 255)]
    found = decode(to_bytes(with_pixels(ybr, "YBR_FULL")))
    expected = [slow_rgb(*pixel) for pixel in ybr.reshape(-1, 3)]
    assert [tuple(pixel) for pixel in found.reshape(-1, 3).tolist()] == expected


def test_ybr_full_422_shares_its_chroma_between_two_pixels():
    y = grey(8)
    chroma = np.random.default_rng(2).integers(0, 256, (H, W // 2, 2), dtype=np.uint8)
    packed = np.concatenate([y.reshape(H, W // 2, 2), chroma], axis=2)  # Y Y Cb Cr
    made = with_pixels(colours(H, W), "YBR_FULL_422")
    made.PixelData = packed.tobytes()
    found = decode(to_bytes(made))
    for row, column in ((0, 0), (3, 7), (65, 69), (20, 33)):
        cb, cr = chroma[row, column // 2]
        assert tuple(found[row, column].tolist()) == slow_rgb(y[row, column], cb, cr)


def test_planes_of_colours_are_put_together():
    made = with_pixels(colours(H, W))
    made.PlanarConfiguration = 1
    made.PixelData = colours(H, W).transpose(2, 0, 1).tobytes()
    assert (decode(to_bytes(made)) == colours(H, W)).all()


def test_colours_of_16_bits_keep_their_full_range():
    wide = np.random.default_rng(3).integers(0, 4096, (H, W, 3), dtype=np.uint16)
    wide[0, 0] = 0, 4095, 2048
    found = decode(to_bytes(with_pixels(wide, bits=12)))
    expected = [clipped(Fraction(int(v) * 255, 4095)) for v in wide.flat]
    assert found.ravel().tolist() == expected


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colours(bits):
    rng = np.random.default_rng(4)
    table = rng.integers(0, 1 << bits, (200, 3), dtype=np.uint16)
    indices = rng.integers(0, 256, (H, W), dtype=np.uint8)
    made = with_pixels(indices, "PALETTE COLOR")
    for name, column in zip(("Red", "Green", "Blue"), table.T, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [200, 10, bits])
        data = column.astype("<u2" if bits == 16 else np.uint8).tobytes()
        setattr(made, f"{name}PaletteColorLookupTableData", data)
    found = decode(to_bytes(made))
    # the first entry is for the value 10 and all below, the last for 209 and all above
    entries = [min(max(int(v) - 10, 0), 199) for v in indices.flat]
    expected = table[entries] >> (bits - 8)
    assert (found.reshape(-1, 3) == expected).all()


def test_a_colour_profile_is_applied_as_in_a_file():
    saved = io.BytesIO()
    icc = swapped_profile()
    Image.fromarray(colours(H, W)).save(saved, "PNG", icc_profile=icc)
    made = with_pixels(colours(H, W), ICCProfile=icc + b"\0" * (len(icc) % 2))
    found = decode(to_bytes(made))
    assert (found == decode(saved.getvalue())).all()
    assert (found != colours(H, W)).any()


def swapped_profile():
    """sRGB with the primaries of red and green exchanged: a change that can't be missed."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = icc.find(b"rXYZ", 128), icc.find(b"gXYZ", 128)
    icc[red : red + 4], icc[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(icc)


# --- grey ---


def slow_window(x, centre, width, function="LINEAR"):
    """PS3.3 C.11.2.1.2 and C.11.2.1.3.2 for one value, 0 to 255."""
    x, centre, width = Fraction(x), Fraction(str(centre)), Fraction(str(width))
    if function == "LINEAR":
        if x <= centre - Fraction(1, 2) - (width - 1) / 2:
            return 0
        if x > centre - Fraction(1, 2) + (width - 1) / 2:
            return 255
        return nearest(((x - (centre - Fraction(1, 2))) / (width - 1) + Fraction(1, 2)) * 255)
    if x <= centre - width / 2:
        return 0
    if x > centre + width / 2:
        return 255
    return nearest(((x - centre) / width + Fraction(1, 2)) * 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (10, False), (12, True), (16, False)])
def test_without_a_window_the_full_range_of_the_bits_is_shown(bits, signed, photometric):
    values = grey(bits, signed)
    low = -(1 << (bits - 1)) if signed else 0
    expected = [clipped(Fraction((int(v) - low) * 255, (1 << bits) - 1)) for v in values.flat]
    if photometric == "MONOCHROME1":
        expected = [255 - v for v in expected]
    found = shown(decode(to_bytes(with_pixels(values, photometric, bits=bits))))
    assert found.ravel().tolist() == expected


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
@pytest.mark.parametrize(("centre", "width"), [(1200, 800), ("2047.5", 4096), (300, 1), (5000, 3)])
def test_a_window_is_applied_after_the_rescale(function, centre, width):
    values = grey(12)
    made = with_pixels(
        values,
        bits=12,
        WindowCenter=[centre, 7],
        WindowWidth=[width, 9],
        RescaleSlope="2",
        RescaleIntercept="-100",
        VOILUTFunction=function,
    )
    found = shown(decode(to_bytes(made)))
    expected = [slow_window(int(v) * 2 - 100, centre, width, function) for v in values.flat]
    assert found.ravel().tolist() == expected


def test_a_window_of_a_sigmoid_is_half_at_its_centre():
    made = with_pixels(
        grey(8), WindowCenter=128, WindowWidth=64, VOILUTFunction="SIGMOID"
    )  # 255 / (1 + exp(-4 (x - c) / w)): 127.5 at 128, 224.6 at 160
    made.PixelData = bytes([128, 160] * (H * W // 2))
    found = shown(decode(to_bytes(made)))
    assert found[0, :2].tolist() == [128, 225]


def test_a_table_of_values_of_interest_is_applied():
    made = with_pixels(grey(8))
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 8], [255 - i for i in range(256)]
    table["LUTData"].VR = "US"
    made.VOILUTSequence = [table]
    found = shown(decode(to_bytes(made, ExplicitVRLittleEndian)))
    assert (found == 255 - grey(8)).all()


def test_what_lies_above_the_bits_stored_is_not_shown():
    values = grey(12)
    made = with_pixels(values | 0x7000, bits=12)  # an overlay of old cameras
    assert (decode(to_bytes(made)) == decode(to_bytes(with_pixels(values, bits=12)))).all()


# --- frames, sides, sizes ---


def test_each_frame_can_be_had():
    frames = np.stack([colours(H, W, seed) for seed in range(3)])
    native = to_bytes(with_pixels(frames, frames=3, sop_class=SECONDARY_CAPTURE + ".4"))
    streams = [simplejpeg.encode_jpeg(frame, 90) for frame in frames]
    packed = to_bytes(encapsulated(frames, streams, "YBR_FULL_422", frames=3), JPEGBaseline8Bit)
    for n in range(3):
        assert (decode(native, frame=n) == frames[n]).all()
        assert (decode(packed, frame=n) == decode(streams[n])).all()
    assert (decode(native) == frames[0]).all()
    with pytest.raises(ImageError, match="there is no frame 4; NumberOfFrames is 3"):
        decode(native, frame=3)
    assert dicom_facts(native).frames == 3


@pytest.mark.parametrize(
    ("said", "eye"),
    [
        ({"ImageLaterality": "R"}, "right"),
        ({"ImageLaterality": "L"}, "left"),
        ({"ImageLaterality": "L", "Laterality": "R"}, "left"),
        ({"ImageLaterality": None, "Laterality": "R"}, "right"),
        ({"ImageLaterality": "", "Laterality": "L"}, "left"),
        ({"ImageLaterality": "B", "Laterality": "L"}, None),
        ({"ImageLaterality": "U"}, None),
        ({"ImageLaterality": None}, None),
        ({"ImageLaterality": "LEFT"}, None),
    ],
)
def test_the_eye_is_that_of_the_image_and_else_of_the_series(said, eye):
    assert stated(to_bytes(with_pixels(colours(H, W), **said))).eye == eye


def anatomy(side=None, code=None, part="AnatomicRegion", within=True):
    """A dataset that says the side in one of the places for it."""
    made, region, modifier = Dataset(), Dataset(), Dataset()
    if side is not None:
        made.FrameLaterality = side
    if code is not None:
        modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = code, "SCT", "x"
        setattr(region if within else made, f"{part}ModifierSequence", [modifier])
        setattr(made, f"{part}Sequence", [region])
    return made


def group(**said):
    made = Dataset()
    made.FrameAnatomySequence = [anatomy(**said)]
    return made


SHARED, OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


@pytest.mark.parametrize(
    ("said", "eye"),
    [
        ({SHARED: [group(side="R")]}, "right"),
        ({OWN: [group(side="L")]}, "left"),
        ({OWN: [group(side="L")], SHARED: [group(side="R")]}, "left"),
        ({OWN: [group(side="")], SHARED: [group(side="R")]}, "right"),
        ({OWN: [group(side="R ")]}, "right"),
        ({OWN: [group(side="R")], "ImageLaterality": "U"}, "right"),
        ({OWN: [group(side="R")], "ImageLaterality": "B"}, "right"),  # both in the image
        ({SHARED: [group(side="R")], "ImageLaterality": "B", "Laterality": "L"}, "right"),
        ({OWN: [group(side="B")], "ImageLaterality": "R"}, None),
        ({OWN: [group(side="U")], "ImageLaterality": "R"}, "right"),
        ({OWN: [Dataset()], "Laterality": "L"}, "left"),
        ({OWN: [], SHARED: []}, None),
        ({"ImageLaterality": "U", "Laterality": "L"}, "left"),
    ],
)
def test_the_eye_may_stand_in_the_functional_groups(said, eye):
    made = with_pixels(colours(H, W), **({"ImageLaterality": None} | said))
    assert stated(to_bytes(made)).eye == eye


@pytest.mark.parametrize("part", ["AnatomicRegion", "PrimaryAnatomicStructure"])
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize(
    ("code", "eye"),
    [
        ("24028007", "right"),
        ("7771000", "left"),
        ("G-A100", "right"),
        ("G-A101", "left"),
        ("51440002", None),
        ("G-A102", None),
        ("1", None),
    ],
)
def test_the_eye_may_be_a_code_beside_the_region(part, within, code, eye):
    for made in (with_pixels(colours(H, W), ImageLaterality=None), with_pixels(colours(H, W), ImageLaterality="U")):
        made.update(anatomy(code=code, part=part, within=within))
        assert stated(to_bytes(made)).eye == eye
    framed = with_pixels(colours(H, W), ImageLaterality=None)
    framed.SharedFunctionalGroupsSequence = [group(code=code, part=part, within=within)]
    assert stated(to_bytes(framed)).eye == eye


def test_what_is_said_of_the_side_outright_comes_before_a_code():
    made = with_pixels(colours(H, W), ImageLaterality="L")
    made.update(anatomy(code="24028007"))
    assert stated(to_bytes(made)).eye == "left"


def test_size_and_eye_are_known_from_the_header_alone():
    data = to_bytes(with_pixels(colours(H, W), sop_class=VL_PHOTOGRAPHIC))
    assert tuple(peek(data)) == (W, H, "DICOM")
    assert stated(b"\xff\xd8\xff no DICOM") == (None, None)


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [
        ("TOPCON CORP.", "TRC-NW8 serial 0815", "Topcon TRC-NW8"),
        ("Canon", "bought for Mr. Doe", "Canon"),
        ("Doe^Jane", "TRC-NW8", None),
        (None, None, None),
    ],
)
def test_the_camera_is_told_in_our_words(maker, model, camera):
    made = with_pixels(colours(H, W), Manufacturer=maker, ManufacturerModelName=model)
    assert stated(to_bytes(made)).camera == camera


# --- what is not installed, or not needed ---


def test_nothing_of_dicom_is_loaded_for_other_photographs(tmp_path):
    Image.fromarray(colours(H, W)).save(tmp_path / "a.png")
    program = """
import sys
from pathlib import Path
import foveola.cli.index, foveola.indexing, foveola.retrieval
from foveola.images.decode import decode, stated
decode(Path(sys.argv[1]))
stated(Path(sys.argv[1]).read_bytes())
print(sorted({"pydicom", "gdcm", "openjpeg"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_pydicom_a_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveola\[dicom\]'"):
        decode(to_bytes(with_pixels(colours(H, W))))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: header("1.2.840.10008.5.1.4.1.1.2"), r"SOPClassUID \(0008,0016\) is CT Image"),
        (lambda: header("1.2.840.10008.5.1.4.1.1.88.33"), "is Comprehensive SR Storage; expected"),
        (lambda: header("1.2.3.4.5"), "is missing or unknown; expected Ophthalmic"),
        (lambda: header(None), "is missing or unknown"),
        (lambda: header(), r"PhotometricInterpretation \(0028,0004\) is missing"),
        (lambda: changed(PhotometricInterpretation="HSV"), "missing or of another kind"),
        (lambda: changed(Rows=None), r"Rows \(0028,0010\) is missing"),
        (lambda: changed(Rows=65535, Columns=65535), "65535 x 65535; expected at most 100 million"),
        (lambda: changed(Rows=0), "is 0 x 70; the file is damaged"),
        (lambda: changed(Rows=20), "is 20 x 70; expected at least 64"),
        (lambda: changed(Columns=[1, 2]), r"Columns \(0028,0011\) is not one number"),
        (lambda: changed(NumberOfFrames=2**31 - 1), "NumberOfFrames.* expected 1 to 1000"),
        (lambda: changed(NumberOfFrames=0), "NumberOfFrames.* is 0"),
        (lambda: changed(NumberOfFrames=9), "bytes, expected 124740; it is cut off"),
        (lambda: changed(SamplesPerPixel=4), r"SamplesPerPixel \(0028,0002\) is 4; expected 3"),
        (lambda: changed(BitsAllocated=32), "BitsAllocated.* is 32; expected 8 or 16"),
        (lambda: changed(BitsStored=9), "BitsStored.* is 9; expected 2 to 8"),
        (lambda: changed(PixelData=b"12"), "has 2 bytes, expected 13860; it is cut off"),
        (lambda: changed(PixelData=None), "PixelData.* is missing; this object holds no picture"),
    ],
)
def test_a_header_that_promises_no_picture_gets_one_sentence(made, sentence):
    with pytest.raises(ImageError, match=f"^the image: .*{sentence}") as caught:
        decode(to_bytes(made()))
    assert "\n" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def changed(**values):
    made = with_pixels(colours(H, W))
    for keyword, value in values.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def test_a_video_is_refused_by_name():
    made = encapsulated(colours(H, W), [b"\0\0\1\xb3"], "YBR_FULL_422")
    with pytest.raises(ImageError, match=r"TransferSyntaxUID \(0002,0010\) is MPEG2.*not read"):
        decode(to_bytes(made, MPEG2MPML))
