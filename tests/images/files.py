"""Makers of good, odd and bad image files, all in memory."""

import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def scene(height=80, width=112):
    """Red, green / blue, white quadrants: every turn and every swap of channels shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = WHITE
    return pixels


def smooth(height=80, width=112, seed=0):
    """A soft random picture, as a photograph is to JPEG."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3))
    return np.asarray(Image.fromarray(noise.astype(np.uint8)).resize((width, height)))


def save(image, form, **options):
    """Pillow's file of an image or an array."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


# --- JPEG ---


def insert_after_start(jpeg, marker, payload):
    segment = struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
    return jpeg[:2] + segment + jpeg[2:]


def twelve_bit_jpeg():
    data = bytearray(save(scene(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    return bytes(data)


def many_scans(jpeg, number):
    """A progressive JPEG with its last scan repeated until it has `number` scans."""
    last = jpeg.rindex(b"\xff\xda")
    scan = jpeg[last:-2]
    return jpeg[:-2] + scan * (number - jpeg.count(b"\xff\xda")) + jpeg[-2:]


# --- PNG ---


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(values, *, interlaced=False, extra=b""):
    """PNG of (H, W) or (H, W, 2 to 4) uint8 or uint16, without filters."""
    values = values[..., None] if values.ndim == 2 else values
    height, width, channels = values.shape
    bits = 8 * values.dtype.itemsize
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = _adam7(values) if interlaced else _rows(values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _rows(values):
    big_endian = values.astype(values.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def _adam7(values):
    starts_and_steps = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    return b"".join(_rows(values[y::dy, x::dx]) for y, x, dy, dx in starts_and_steps)


# --- TIFF ---


def tiff(values, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def tiff_pages(*pages, reduced=()):
    """A TIFF of several pages; those whose index is in `reduced` are marked as previews."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for number, page in enumerate(pages):
            kind = 1 if number in reduced else 0
            writer.write(page, photometric="rgb", subfiletype=kind, metadata=None)
    return out.getvalue()


def lzw_sixteen_bit_tiff(values):
    """(H, W, 3) uint16 RGB, with LZW (which tifffile can't write alone)."""
    done, data = cv2.imencode(".tiff", values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert done
    return data.tobytes()


# --- Colour profiles (ICC.1:2022) ---

P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def _fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _profile(space, pcs, tags):
    """An ICC profile of tags {name: bytes}."""
    table, body = b"", b""
    at = 128 + 4 + 12 * len(tags)
    for name, payload in tags.items():
        payload += b"\0" * (-len(payload) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(payload))
        body += payload
    head = bytearray(128)
    struct.pack_into(">I", head, 0, at + len(body))
    head[8:12] = b"\x04\x30\0\0"
    head[12:24] = (b"prtr" if space == b"CMYK" else b"mntr") + space + pcs
    head[36:40] = b"acsp"
    head[68:80] = _fixed(0.9642, 1.0, 0.8249)
    return bytes(head) + struct.pack(">I", len(tags)) + table + body


_WHITE_POINT = b"XYZ \0\0\0\0" + _fixed(0.9642, 1.0, 0.8249)


def rgb_profile(matrix=P3):
    """Primaries in the columns of a matrix (to XYZ at D50), with the curve of sRGB."""
    curve = b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {b"wtpt": _WHITE_POINT}
    for name, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*column)
        tags[name + b"TRC"] = curve
    return _profile(b"RGB ", b"XYZ ", tags)


def grey_profile(gamma):
    curve = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(gamma * 256))
    return _profile(b"GRAY", b"XYZ ", {b"wtpt": _WHITE_POINT, b"kTRC": curve})


def cmyk_profile():
    """A press whose inks only darken: lightness falls by a quarter for each full ink."""
    grid = b"".join(
        struct.pack(">HHH", round((1 - sum(map(int, f"{i:04b}")) / 4) * 65280), 0x8000, 0x8000) for i in range(16)
    )
    straight = struct.pack(">HH", 0, 65535)
    table = (
        b"mft2\0\0\0\0\4\3\2\0"
        + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + struct.pack(">HH", 2, 2)
        + straight * 4
        + grid
        + straight * 3
    )
    return _profile(b"CMYK", b"Lab ", {b"wtpt": _WHITE_POINT, b"A2B0": table})


# --- Headers that promise too much ---


def huge(form, side=65535):
    """A file of a few bytes whose header says side x side pixels."""
    if form == "JPEG":
        data = bytearray(save(scene(), "JPEG"))
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    elif form == "PNG":
        data = bytearray(png(scene()))
        struct.pack_into(">II", data, 16, side, side)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif form == "BMP":
        data = bytearray(save(scene(), "BMP"))
        struct.pack_into("<ii", data, 18, side, side)
    elif form == "WebP":
        data = bytearray(save(scene(), "WebP", exif=exif(1)))  # has the extended header
        assert data[12:16] == b"VP8X"
        data[24:30] = (side - 1).to_bytes(3, "little") * 2
    else:
        data = bytearray(tiff(scene(), photometric="rgb"))
        for tag in (256, 257):
            at = data.index(struct.pack("<HH", tag, 4))
            struct.pack_into("<I", data, at + 8, side)
    return bytes(data)
