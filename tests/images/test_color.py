"""A picture that comes out black, or of one shade, from data that is not: shown or refused."""

import io
import struct

import files
import numpy as np
import pytest
import tifffile
from PIL import Image

from foveola.errors import ImageError
from foveola.images.color import is_lost
from foveola.images.decode import decode

PICTURE = files.smooth(80, 80)
COLOURS = np.random.default_rng(1).integers(0, 256, (3, 256))


def palette_tiff(scale, compression):
    """A palette TIFF whose entries are 8-bit values times a scale, and its colours."""
    indices = (np.arange(80 * 80).reshape(80, 80) % 256).astype(np.uint8)
    out = io.BytesIO()
    table = (COLOURS * scale).astype(np.uint16)
    tifffile.imwrite(out, indices, photometric="palette", colormap=table, compression=compression)
    return out.getvalue(), COLOURS.T[indices]


@pytest.mark.parametrize("scale", [1, 256, 257])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_palette_of_8_or_16_bits_has_its_colours_however_it_is_packed(scale, compression):
    data, expected = palette_tiff(scale, compression)
    np.testing.assert_array_equal(decode(data), expected)


def four_bit_palette(scale):
    """An uncompressed TIFF of 4 bits a sample; tifffile and Pillow write none with a small map."""
    indices = np.tile(np.arange(16, dtype=np.uint8), (64, 4))
    packed = (indices[:, ::2] << 4 | indices[:, 1::2]).tobytes()
    table = (COLOURS[:, :16] * scale).astype("<u2").tobytes()
    tags = [
        (256, 3, 1, 64),
        (257, 3, 1, 64),
        (258, 3, 1, 4),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, 64),
        (279, 4, 1, len(packed)),
        (320, 3, 48, 8 + len(packed)),
    ]
    at = 8 + len(packed) + len(table)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    whole = struct.pack("<2sHI", b"II", 42, at) + packed + table
    return whole + struct.pack("<H", len(tags)) + entries + bytes(4), COLOURS.T[indices]


@pytest.mark.parametrize("scale", [1, 257])
def test_a_tiff_palette_of_16_colours_has_them_too(scale):
    data, expected = four_bit_palette(scale)
    np.testing.assert_array_equal(decode(data), expected)


def with_a_hot_pixel(values):
    values = values.copy()
    values[0, 0] = 65535
    return values


DEEP = PICTURE.astype(np.uint16) * 16
HIDDEN = {
    "16-bit PNG, one hot pixel": files.png(with_a_hot_pixel(DEEP)),
    "16-bit grey PNG, one hot pixel": files.png(with_a_hot_pixel(DEEP[..., 0])),
    "16-bit TIFF, one hot pixel": files.tiff(with_a_hot_pixel(DEEP), photometric="rgb"),
    "16-bit grey TIFF, one hot pixel": files.tiff(with_a_hot_pixel(DEEP[..., 0])),
    "TIFF that states a top too high": files.tiff(DEEP, photometric="rgb", extratags=[(281, 3, 3, (65000,) * 3, True)]),
    "alpha of 0 and 1": files.png(np.dstack([PICTURE, np.ones((80, 80), np.uint8)])),
    "16-bit alpha of 0 and 255": files.png(
        np.dstack([PICTURE.astype(np.uint16) * 257, np.full((80, 80), 255, np.uint16)])
    ),
    "WebP that can't be seen through": files.save(
        Image.fromarray(np.dstack([PICTURE, np.full((80, 80), 2, np.uint8)])), "WebP", lossless=True, exact=True
    ),
    "palette with an alpha of 1": files.save(
        Image.fromarray(PICTURE).quantize(255), "PNG", transparency=bytes([1] * 255)
    ),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_would_be_black_is_refused_by_sentence(kind):
    with pytest.raises(ImageError, match=r"would be black|hides the whole picture"):
        decode(HIDDEN[kind])


def test_a_profile_that_makes_all_alike_is_left_out():
    flat = files.rgb_profile(np.full((3, 3), 1e-4))
    for form in ("JPEG", "PNG"):
        plain, profiled = files.save(PICTURE, form), files.save(PICTURE, form, icc_profile=flat)
        np.testing.assert_array_equal(decode(profiled), decode(plain))


def test_a_mask_of_black_around_a_retina_is_no_loss():
    alpha = np.zeros((80, 80), np.uint8)
    alpha[20:60, 20:60] = 255
    seen = decode(files.png(np.dstack([PICTURE, alpha])))
    assert (seen[20:60, 20:60] == PICTURE[20:60, 20:60]).all()
    assert not seen[:20].any()


def test_data_as_poor_as_what_is_shown_of_it_has_lost_nothing():
    dark = PICTURE // 40
    assert not is_lost(dark, dark)
    assert not is_lost(np.zeros_like(dark), np.zeros_like(dark))
    assert is_lost(PICTURE, np.zeros_like(PICTURE))
    assert is_lost(PICTURE, np.full_like(PICTURE, 255))
    assert not is_lost(PICTURE, PICTURE)
