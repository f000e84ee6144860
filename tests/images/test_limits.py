"""What valid pictures of every format may take: 512 MiB at most, or a sentence."""

import io
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import files
import numpy as np
import pytest
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from dicoms import SECONDARY_CAPTURE, encapsulated, to_bytes, with_pixels
from foveola.errors import ImageError
from foveola.images import _dicom_frames
from foveola.images._dicom_object import form_of, read_object
from foveola.images.decode import decode, peek
from foveola.images.fundus import Contract, prepare
from foveola.images.headers import read_header
from foveola.images.limits import BUDGET, Budget, Limits, bytes_needed

MOST = 512  # MiB, of any process


def png(width, height, *, bits=8, colour=2, interlaced=False, rows=None):
    """A PNG of zeros, of a few kilobytes; not all of its rows, where it is refused before."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(-(-width * channels * bits // 8))
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(rows or height)) + packer.flush()
    palette = files.chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + files.chunk(b"IHDR", head)
        + palette
        + files.chunk(b"IDAT", data)
        + files.chunk(b"IEND", b"")
    )


def tiff(width, height, *, bits=8, samples=3, compression=1):
    """A TIFF of zeros in one strip."""
    raw = bytes(width * samples * bits // 8 * height)
    strip = raw if compression == 1 else zlib.compress(raw, 1)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, compression),
        (262, 3, 1, 2 if samples > 1 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(strip)),
    ]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    if samples > 1:
        place = 8 + len(strip)
        tags[2] = (258, 3, samples, place)
        body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    depths = struct.pack("<4H", *[bits] * 4)
    at = 8 + len(strip) + len(depths)
    return struct.pack("<2sHI", b"II", 42, at) + strip + depths + struct.pack("<H", len(tags)) + body + bytes(4)


def saved(form, mode, width, height, **options):
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, form, **options)
    return out.getvalue()


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the most a process held is read on Linux only"
)


def run(data, folder, min_side=384):
    """(peak in MiB, height or sentence) of decoding and preparing in a process of its own."""
    path = folder / "picture"
    path.write_bytes(data)
    program = f"""if True:
        import pathlib, resource
        from foveola.errors import ImageError
        from foveola.images.decode import decode
        from foveola.images.fundus import Contract, prepare
        try:
            pixels = decode(pathlib.Path({str(path)!r}), min_side={min_side})
            prepare(pixels, Contract())
            said = pixels.shape
        except ImageError as error:
            said = error
        from foveola.images.limited import POOL
        places = ["self", *(child._process.pid for child in POOL._idle)]
        lines = [open(f"/proc/{{place}}/status").read() for place in places]
        # Not ru_maxrss, which begins with what the process that started this one held.
        print(max(int(text.split("VmHWM:")[1].split()[0]) for text in lines) // 1024)
        print(said)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak, said = done.stdout.splitlines()
    return int(peak), said


def dicom(pixels, streams=None, syntax=ExplicitVRLittleEndian, **values):
    made = with_pixels(pixels, **values) if streams is None else encapsulated(pixels[:1, :1], streams, **values)
    if streams is not None:
        made.Rows, made.Columns = pixels.shape[:2]
    return to_bytes(made, syntax)


# Up to 50 million pixels, fewer where the decoder keeps the picture several times.
READ = {
    "JPEG": lambda: saved("JPEG", "RGB", 8660, 5773),
    "progressive JPEG": lambda: saved("JPEG", "RGB", 8660, 5773, progressive=True),
    "CMYK JPEG": lambda: saved("JPEG", "CMYK", 8660, 5773),
    "PNG": lambda: png(8660, 5773),
    "grey PNG": lambda: png(8660, 5773, colour=0),
    "palette PNG": lambda: png(8660, 5773, bits=4, colour=3),
    "PNG with alpha": lambda: png(8000, 5000, colour=6),
    "16-bit grey PNG": lambda: png(7000, 5000, bits=16, colour=0),
    "16-bit PNG": lambda: png(6000, 4000, bits=16),
    "16-bit PNG with alpha": lambda: png(6000, 4000, bits=16, colour=6),
    "TIFF": lambda: tiff(6000, 3000),
    "deflated TIFF": lambda: tiff(6000, 4000, compression=8),
    "deflated 16-bit TIFF": lambda: tiff(4500, 3800, bits=16, compression=8),
    "WebP": lambda: saved("WebP", "RGB", 3500, 2500),
    "BMP": lambda: saved("BMP", "RGB", 6000, 4000),
    "DICOM": lambda: dicom(np.zeros((4000, 6000, 3), np.uint8)),
}


@needs_proc
@pytest.mark.parametrize("kind", ["PNG with alpha", "16-bit PNG with alpha", "WebP", "CMYK JPEG"])
def test_a_large_picture_is_read_within_the_bound(kind, tmp_path):
    """All of READ were measured when this was written: 57 to 281 MiB."""
    peak, said = run(READ[kind](), tmp_path)
    assert said.startswith("("), said
    assert peak < MOST - 150  # what a command with its network takes beside it


TOO_MUCH = {
    "PNG of 16 bits with alpha": (lambda: png(10_000, 9_000, bits=16, colour=6, rows=1), "max_memory"),
    "WebP": (lambda: files.huge("WebP", 9_000), "max_memory"),
    "TIFF": (lambda: files.huge("TIFF", 9_000), "max_memory"),
    "BMP": (lambda: files.huge("BMP", 9_000), "max_memory"),
    "64 x 40,000": (lambda: png(64, 40_000), "at most 8 to 1"),
    "64 x 1,500,000": (lambda: png(64, 1_500_000, bits=1, colour=0, rows=1), "at most 8 to 1"),
    "1,500,000 x 64": (lambda: png(1_500_000, 64, bits=1, colour=0), "at most 8 to 1"),
    "DICOM of 8 to 1": (lambda: dicom(np.zeros((65, 600, 3), np.uint8)), "at most 8 to 1"),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_would_take_more_is_refused_by_a_sentence_before_it_is_decoded(kind):
    make, sentence = TOO_MUCH[kind]
    data = make()
    with pytest.raises(ImageError, match=sentence):
        decode(data, min_side=384)


def test_a_progressive_jpeg_counts_its_coefficients():
    plain, waiting = (read_header(saved("JPEG", "RGB", 640, 480, progressive=p, subsampling=0)) for p in (0, 1))
    half = read_header(saved("JPEG", "RGB", 640, 480, progressive=True, subsampling=2))
    needed = [bytes_needed(h, 0, 8, quick=True) for h in (plain, waiting, half)]
    whole = 640 * 480
    assert needed == [3 * whole // 64, 3 * whole // 64 + 6 * whole, 3 * whole // 64 + 3 * whole]


def test_real_cameras_are_well_within_the_bound():
    for width, height in ((4288, 2848), (5184, 3456), (8256, 5504), (8660, 5773)):
        header = read_header(files.huge("JPEG", 9000))
        header = type(header)(**{**vars(header), "width": width, "height": height})
        for factor in (1, 8):
            assert bytes_needed(header, 25 * 2**20, factor, quick=True) < BUDGET


def test_the_limits_can_be_widened():
    tall = files.png(np.zeros((64, 700, 3), np.uint8))
    with pytest.raises(ImageError, match=r"Limits.max_aspect"):
        peek(tall)
    assert decode(tall, limits=Limits(max_aspect=11)).shape == (64, 700, 3)
    with pytest.raises(ImageError, match=r"about \d+ MiB .* at most 0 \(Limits.max_memory"):
        decode(files.png(files.scene()), limits=Limits(max_memory=1000))


def test_a_large_png_is_brought_down_by_means_of_squares(monkeypatch):
    monkeypatch.setattr("foveola.images.decode.LARGE", 1000)
    pixels = files.smooth(512, 640)
    found = decode(files.png(pixels), min_side=128)
    means = pixels.reshape(128, 4, 160, 4, 3).mean(axis=(1, 3))
    assert found.shape == (128, 160, 3)
    assert np.abs(found - means).max() <= 0.51
    assert decode(files.png(pixels)).shape == (512, 640, 3)


def test_a_large_dicom_image_is_brought_down_likewise(monkeypatch):

    monkeypatch.setattr("foveola.images.decode.LARGE", 1000)
    pixels = files.smooth(512, 640)
    streams = {
        "plain": dicom(pixels),
        "JPEG 2000": dicom(pixels, [encode_array(pixels, photometric_interpretation=1)], JPEG2000Lossless),
    }
    means = pixels.reshape(128, 4, 160, 4, 3).mean(axis=(1, 3))
    for kind, data in streams.items():
        found = read_object(data, Limits())
        small = _dicom_frames.decode_frame(found, form_of(found, Limits()), 0, 128)
        assert small.shape == (128, 160, 3), kind
        assert np.abs(small - means).mean() < 15, kind  # wavelets lie half a pixel off


def test_a_square_around_a_long_picture_is_not_larger_than_what_it_is_for():
    long = np.full((64, 60_000, 3), 200, np.uint8)  # a square of 60,000 would take 10 GB
    tracemalloc.start()
    assert prepare(long, Contract(size=64)).shape == (64, 64, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * 2**20


def test_threads_share_what_there_is_and_nobody_waits_for_ever():
    budget, running, most = Budget(100), 0, 0
    lock = threading.Lock()

    def work(size):
        nonlocal running, most
        with budget.hold(size), budget.hold(size):  # a thread that holds some may go on
            with lock:
                running += min(size, 100)
                most = max(most, running)
            threading.Event().wait(0.005)
            with lock:
                running -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (40, 60, 70, 500, 30) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert 40 <= most <= 100


def test_what_is_not_read_is_refused_whatever_its_size():
    gif = saved("GIF", "P", 9000, 9000)
    with pytest.raises(ImageError, match="this is a GIF"):
        decode(gif)
    jp2 = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)
    with pytest.raises(ImageError, match="this is a JPEG 2000"):
        decode(jp2)


@needs_proc
def test_one_frame_of_many_is_all_that_is_decoded(tmp_path):
    frames = np.zeros((40, 1200, 1200, 3), np.uint8)  # 165 MiB
    frames[0, :600] = 90
    made = dicom(frames, frames=40, sop_class=SECONDARY_CAPTURE + ".4")
    peak, said = run(made, tmp_path)
    assert said == "(1200, 1200, 3)"
    assert peak < MOST
