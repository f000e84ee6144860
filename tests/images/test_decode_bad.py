"""What can't be used: one sentence for each, no crash, no warning, no memory taken."""

import logging
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import files
import numpy as np
import pytest
from PIL import Image

from foveola.errors import ImageError
from foveola.images.decode import decode, peek
from foveola.images.headers import Header, read_header
from foveola.images.limits import DEFAULT_LIMITS, Limits, estimated_seconds

SCENE = files.scene()
JPEG = files.save(files.smooth(), "JPEG")
PNG = files.png(files.smooth())
SECOND_HEADER = files.png(SCENE[:70, :90])[8:33]
FORMS = ("JPEG", "PNG", "TIFF", "WebP", "BMP")


def frames(form):
    first, second = Image.fromarray(SCENE), Image.fromarray(files.smooth())
    return files.save(first, form, save_all=True, append_images=[second])


def turned_bit(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


BAD = {
    "empty": (b"", "an empty file"),
    "PDF": (b"%PDF-1.7 ...", "a PDF"),
    "GIF": (files.save(SCENE, "GIF"), "a GIF"),
    "HTML": (b"\n<!DOCTYPE HTML><html>", "an HTML page"),
    "XML": (b"<?xml version='1.0'?><a/>", "an XML file"),
    "SVG": (b"<svg xmlns='...'/>", "an SVG drawing"),
    "JSON": (b'{"error": 1}', "a JSON file"),
    "text": ("id;Auge\n1;links, Höhe\n".encode(), "a text file"),
    "text that begins like a BMP": (b"BMI,Age,Sex\n27,60,F\n" * 9, "a text file"),
    "DICOM": (bytes(128) + b"DICM" + bytes(50), r"TransferSyntaxUID \(0002,0010\) is missing"),
    "DICOM without its preamble": (b"\x08\0\x05\0" + bytes(90), "a DICOM dataset without the"),
    "ZIP": (b"PK\x03\x04" + bytes(30), "a ZIP archive"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(30), "a HEIC"),
    "AVIF": (b"\0\0\0\x18ftypavif" + bytes(30), "an AVIF"),
    "video": (b"\0\0\0\x18ftypmp42" + bytes(30), "a video"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "zeros": (bytes(5000), "a file of zeros"),
    "noise": (np.random.default_rng(3).bytes(5000), "an unknown kind"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "the JPEG is cut off"),
    "JPEG without its last bytes": (JPEG[:-40], "the JPEG is cut off"),
    "JPEG header only": (JPEG[:300], "ends before its picture begins"),
    "JPEG whose frame has no component": (
        JPEG[: (frame := JPEG.index(b"\xff\xc0"))] + b"\xff\xc0\0\x08" + JPEG[frame + 4 :],
        "ends before its picture begins",
    ),
    "JPEG of three bytes": (JPEG[:3], "ends before its picture begins"),
    "JPEG with a hole": (JPEG[:900] + bytes(300) + JPEG[1200:], "the JPEG is damaged"),
    "12-bit JPEG": (files.twelve_bit_jpeg(), "this JPEG has 12 bits a channel"),
    "half a PNG": (PNG[: len(PNG) // 2], "the PNG is cut off"),
    "PNG without its end": (PNG[:-12], "the PNG is cut off"),
    "PNG with a wrong bit": (turned_bit(PNG, len(PNG) // 2), r"the PNG is damaged \(a checksum"),
    "animated PNG": (frames("PNG"), "an animated PNG"),
    "animated WebP": (frames("WebP"), "an animated WebP"),
    "half a WebP": (files.save(SCENE, "WebP")[:150], "the WebP is cut off"),
    "half a BMP": (files.save(SCENE, "BMP")[:9000], "the BMP can't be decoded"),
    "half a TIFF": (files.tiff(SCENE, photometric="rgb")[:9000], "the TIFF can't be decoded"),
    "half a 16-bit TIFF": (
        files.tiff(SCENE.astype(np.uint16) * 257, photometric="rgb")[:9000],
        "the TIFF can't be decoded",
    ),
    "TIFF without a directory": (b"II*\0\0\x10\0\0" + bytes(50), "directory is damaged or cut off"),
    "TIFF without a page": (b"II*\0\0\0\0\0" + bytes(50), "has no page"),
    "TIFF of floats": (files.tiff(SCENE.astype(np.float32), photometric="rgb"), "floating-point"),
    "TIFF of 32 bits": (files.tiff(SCENE[..., 0].astype(np.uint32)), "32-bit samples"),
    "TIFF of signed numbers": (files.tiff(SCENE[..., 0].astype(np.int16)), "signed samples"),
    "TIFF of seven channels": (
        files.tiff(np.zeros((80, 80, 7), np.uint8), photometric=1, planarconfig="contig"),
        "7 samples a pixel",
    ),
    "PNG with two headers": (PNG.replace(PNG[33:], SECOND_HEADER + PNG[33:]), "two sizes"),
    "TIFF in Lab": (files.save(Image.fromarray(SCENE).convert("LAB"), "TIFF"), "an unusual kind"),
    "16-bit TIFF in planes": (
        files.tiff(np.zeros((3, 80, 80), np.uint16), photometric="rgb", planarconfig="separate"),
        "does not hold plain RGB in one plane",
    ),
    "TIFF of two photographs": (files.tiff_pages(SCENE, files.smooth()), "holds 2 pictures"),
    "TIFF of 100 pages": (files.tiff_pages(*[SCENE[:64, :64].copy()] * 100), "more than 64 pages"),
    "TIFF of a preview": (files.tiff_pages(SCENE, reduced=(0,)), "only a preview"),
    "tiny": (files.png(files.scene(63, 200)), "200 x 63 pixels; expected at least 64"),
    "no height": (files.huge("BMP", 0), "0 x 0 pixels; the file is damaged"),
    "201 scans": (files.many_scans(files.save(SCENE, "JPEG", progressive=True), 201), "this JPEG has 201 scans"),
}


@pytest.mark.parametrize(("data", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_file_gets_a_sentence_that_begins_with_its_name(data, sentence, tmp_path):
    path = tmp_path / "visit 1.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"^visit 1\.jpg: .*{sentence}") as caught:
        decode(path)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=rf"^the image: .*{sentence}"):
        decode(data)


def test_paths_that_are_no_files_get_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, sentence in (
        ("missing.png", "there is no such file"),
        ("folder.png", "this is a folder"),
        ("pipe.png", "this is a pipe or a device"),
        ("x" * 300, "can't be read"),
        ("zero\0byte", "can't be read"),
    ):
        with pytest.raises(ImageError, match=sentence):
            decode(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may read everything")
def test_a_file_without_permission_gets_a_sentence(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        decode(path)


# --- Limits ---


def test_a_header_of_65535_squared_is_refused_before_memory_is_taken(tmp_path):
    for form in FORMS:
        (tmp_path / f"{form} good").write_bytes(files.save(SCENE, form))
        (tmp_path / f"{form} huge").write_bytes(files.huge(form))
    program = f"""if True:
        import pathlib, resource
        from foveola.errors import ImageError
        from foveola.images.decode import decode
        for good in sorted(pathlib.Path({str(tmp_path)!r}).glob("* good")):
            decode(good)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for huge in sorted(pathlib.Path({str(tmp_path)!r}).glob("* huge")):
            try:
                decode(huge)
            except ImageError as error:
                assert "65535 x 65535 pixels; expected at most 100 million" in str(error), error
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    more = [int(line) for line in done.stdout.split()]
    assert len(more) == len(FORMS)
    assert max(more) < 5000  # KiB; the pixels would need 12 GiB


@pytest.mark.parametrize("form", FORMS)
def test_a_header_that_lies_within_the_limits_is_an_error(form):
    with pytest.raises(ImageError):
        decode(files.huge(form, side=3000))


@pytest.mark.parametrize("form", FORMS)
def test_each_limit_holds_exactly(form):
    data = files.save(files.scene(80, 100), form)
    for good in (Limits(max_pixels=8000), Limits(max_bytes=len(data)), Limits(smallest_side=80), Limits(max_seconds=1)):
        assert decode(data, limits=good).shape == (80, 100, 3)
        assert peek(data, limits=good) == (100, 80, form)
    for bad, sentence in (
        (Limits(max_pixels=7999), "at most 0.007999 million"),
        (Limits(max_bytes=len(data) - 1), "Limits.max_bytes"),
        (Limits(smallest_side=81), "at least 81 on each side"),
        (Limits(max_seconds=1e-6), "Limits.max_seconds"),
    ):
        for call in (decode, peek):
            with pytest.raises(ImageError, match=sentence):
                call(data, limits=bad)


def test_seconds_count_pixels_depth_and_scans():
    plain = read_header(files.save(SCENE, "JPEG"))
    scans = read_header(files.save(SCENE, "JPEG", progressive=True))
    assert (plain.passes, scans.passes) == (1, 10)
    assert estimated_seconds(scans) > 2 * estimated_seconds(plain)
    eight, sixteen = (read_header(files.png(SCENE.astype(kind))) for kind in (np.uint8, np.uint16))
    assert estimated_seconds(sixteen) == 2 * estimated_seconds(eight) > 0
    # The largest legal file of each format is within the default, 14 scans of a JPEG too.
    for form in FORMS:
        largest = Header(format=form, width=10_000, height=10_000, bits=8, passes=14)
        assert estimated_seconds(largest) <= DEFAULT_LIMITS.max_seconds


def test_a_limit_of_nothing_is_a_wrong_argument():
    with pytest.raises(ValueError, match="max_pixels is 0"):
        Limits(max_pixels=0)
    assert Limits() == DEFAULT_LIMITS


def test_pillows_own_limit_and_warnings_do_not_show(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # warns above it
    for form in FORMS:
        assert decode(files.save(SCENE, form)).shape == SCENE.shape
    assert decode(files.tiff(SCENE.astype(np.uint16) * 257, photometric="rgb")).shape == SCENE.shape


# --- Harmless faults ---


def test_faults_without_loss_are_forgiven():
    expected = decode(JPEG)
    before_end = JPEG[:-2] + b"\x12" * 50 + JPEG[-2:]
    between = files.insert_after_start(JPEG, 0xE5, b"some camera's notes")
    for data in (before_end, between, JPEG + b"trailing data", JPEG[:2] + b"\xff" * 9 + JPEG[2:]):
        np.testing.assert_array_equal(decode(data), expected)


def test_odd_jpegs_that_libjpeg_can_read_are_read():
    plain = files.save(files.smooth(), "JPEG", subsampling=0)
    parameters = bytearray(plain)
    parameters[plain.index(b"\xff\xda") + 12] = 0  # some cameras write the last coefficient so
    tag = b"Adobe\0\x64\0\0\0\0\x07"  # a colour transform that nobody knows
    adobe = files.insert_after_start(plain[:2] + plain[20:], 0xEE, tag)
    for data in (bytes(parameters), adobe):
        np.testing.assert_allclose(decode(data), decode(plain), atol=2)


def test_broken_exif_means_upright():
    for block in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0XX" + bytes(20)):
        data = files.insert_after_start(JPEG, 0xE1, block)
        np.testing.assert_array_equal(decode(data), decode(JPEG))


def test_offsets_beyond_all_numbers_are_an_error():
    big = bytearray(files.tiff(SCENE, photometric="rgb", bigtiff=True))
    big[8:16] = b"\xff" * 8
    with pytest.raises(ImageError, match="directory is damaged"):
        decode(bytes(big))


def test_tags_that_lead_beyond_a_tiff_are_not_remarked_upon(recwarn):
    data = bytearray(files.tiff(SCENE, photometric="rgb", software="x" * 50))
    at = data.index(struct.pack("<HH", 305, 2))
    struct.pack_into("<II", data, at + 4, 2**20, 2**30)
    np.testing.assert_array_equal(decode(bytes(data)), SCENE)
    assert [str(found.message) for found in recwarn] == []


def test_a_tiff_whose_pages_run_in_a_circle_ends():
    data = bytearray(files.tiff_pages(SCENE))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = data[4:8]
    np.testing.assert_array_equal(decode(bytes(data)), SCENE)


# --- Fuzz ---

SMALL = files.smooth(80, 80)
DEEP = SMALL.astype(np.uint16) * 257
SEEDS = {
    "JPEG": files.save(SMALL, "JPEG", exif=files.exif(6), icc_profile=files.rgb_profile()),
    "progressive JPEG": files.save(SMALL, "JPEG", progressive=True),
    "CMYK JPEG": files.save(Image.fromarray(SMALL).convert("CMYK"), "JPEG"),
    "PNG": files.save(SMALL, "PNG", icc_profile=files.rgb_profile(), exif=files.exif(8)),
    "16-bit PNG": files.png(DEEP, interlaced=True),
    "palette PNG": files.save(Image.fromarray(SMALL).quantize(16), "PNG", transparency=0),
    "TIFF": files.tiff(SMALL, photometric="rgb"),
    "LZW TIFF": files.save(SMALL, "TIFF", compression="tiff_lzw", icc_profile=files.rgb_profile()),
    "JPEG TIFF": files.save(SMALL, "TIFF", compression="jpeg"),
    "16-bit TIFF": files.tiff(DEEP, photometric="rgb", byteorder=">"),
    "16-bit LZW TIFF": files.lzw_sixteen_bit_tiff(DEEP),
    "BigTIFF": files.tiff(SMALL, photometric="rgb", bigtiff=True, tile=(32, 32)),
    "two-page TIFF": files.tiff_pages(SMALL[::2, ::2].copy(), SMALL),
    "WebP": files.save(SMALL, "WebP", exif=files.exif(3)),
    "lossless WebP": files.save(SMALL, "WebP", lossless=True),
    "BMP": files.save(SMALL, "BMP"),
}
ROUNDS = int(os.environ.get("FOVEOLA_FUZZ_ROUNDS", "40"))


def mutated(data, rng):
    """Some bytes changed, most of them near the start where headers are, or the end cut off."""
    if rng.random() < 0.2:
        return data[: rng.integers(len(data))]
    out = bytearray(data)
    reach = len(out) if rng.random() < 0.4 else min(len(out), 400)
    for at in rng.integers(reach, size=rng.integers(1, 5)):
        out[at] = rng.choice([0, 255, out[at] ^ (1 << rng.integers(8)), rng.integers(256)])
    return bytes(out)


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_give_pixels_or_an_image_error_and_nothing_else(name, capfd, caplog):
    rng = np.random.default_rng(sorted(SEEDS).index(name))
    caplog.set_level(logging.WARNING)
    limits = Limits(max_pixels=2_000_000)
    sentences = []
    for number in range(ROUNDS):
        data = mutated(SEEDS[name], rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                pixels = decode(data, limits=limits)
        except ImageError as error:
            sentences.append(str(error))
        else:
            assert pixels.dtype == np.uint8, number
            assert pixels.ndim == 3, number
            assert pixels.shape[2] == 3, number
    assert sentences
    assert not any("\n" in sentence for sentence in sentences)
    assert not caplog.records  # which show on the terminal of a user without a log
    assert capfd.readouterr() == ("", "")  # C libraries write past Python, hence the fd


def test_decoding_a_jpeg_needs_no_pillow(tmp_path):
    path = Path(tmp_path) / "a.jpg"
    path.write_bytes(JPEG)
    program = f"""if True:
        import pathlib, sys
        from foveola.images.decode import decode
        decode(pathlib.Path({str(path)!r}))
        assert "PIL" not in sys.modules and "cv2" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)
