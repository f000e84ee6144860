"""Formats, colours, depth and turns: what comes out of each kind of good file."""

import io
import warnings

import cv2
import files
import numpy as np
import pytest
from files import BLUE, GREEN, RED, WHITE
from PIL import Image, ImageOps

from foveola.errors import ImageError
from foveola.images.decode import decode, peek, read_bytes, same_scale
from foveola.images.limits import Limits

SCENE = files.scene()
SIXTEEN = SCENE.astype(np.uint16) * 257
PLANES = np.ascontiguousarray(SCENE.transpose(2, 0, 1))

EXACT = {
    "PNG": files.png(SCENE),
    "interlaced PNG": files.png(SCENE, interlaced=True),
    "16-bit PNG": files.png(SIXTEEN),
    "interlaced 16-bit PNG": files.png(SIXTEEN, interlaced=True),
    "palette PNG": files.save(Image.fromarray(SCENE).quantize(4), "PNG"),
    "lossless WebP": files.save(SCENE, "WebP", lossless=True),
    "BMP": files.save(SCENE, "BMP"),
    "palette BMP": files.save(Image.fromarray(SCENE).quantize(4), "BMP"),
    "TIFF": files.tiff(SCENE, photometric="rgb"),
    "big-endian TIFF": files.tiff(SCENE, photometric="rgb", byteorder=">"),
    "BigTIFF": files.tiff(SCENE, photometric="rgb", bigtiff=True),
    "tiled TIFF": files.tiff(SCENE, photometric="rgb", tile=(32, 32)),
    "planar TIFF": files.tiff(PLANES, photometric="rgb", planarconfig="separate"),
    "LZW TIFF": files.save(SCENE, "TIFF", compression="tiff_lzw"),
    "deflate TIFF": files.save(SCENE, "TIFF", compression="tiff_deflate"),
    "PackBits TIFF": files.save(SCENE, "TIFF", compression="packbits"),
    "CMYK TIFF": files.save(Image.fromarray(SCENE).convert("CMYK"), "TIFF"),
    "16-bit TIFF": files.tiff(SIXTEEN, photometric="rgb"),
    "16-bit big-endian TIFF": files.tiff(SIXTEEN, photometric="rgb", byteorder=">"),
    "16-bit LZW TIFF": files.lzw_sixteen_bit_tiff(SIXTEEN),
    "16-bit BigTIFF with prediction": files.tiff(
        SIXTEEN, photometric="rgb", bigtiff=True, compression="zlib", predictor=True
    ),
}


@pytest.mark.parametrize("data", EXACT.values(), ids=EXACT)
def test_lossless_files_give_their_pixels_to_the_bit(data):
    pixels = decode(data)
    np.testing.assert_array_equal(pixels, SCENE)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}])
def test_jpeg_agrees_with_pillow(options):
    data = files.save(files.smooth(), "JPEG", quality=85, **options)
    expected = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(decode(data) - expected).max() <= 2


def test_jpeg_in_tiff_and_lossy_webp_agree_with_pillow():
    for data in (
        files.save(files.smooth(), "TIFF", compression="jpeg"),
        files.save(files.smooth(), "WebP", quality=80),
    ):
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WebP", "BMP"])
def test_grey_comes_as_three_equal_channels(form):
    ramp = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None], 80, axis=0)
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 100}}.get(form, {})
    pixels = decode(files.save(Image.fromarray(ramp), form, **options))
    assert pixels.shape == (80, 128, 3)
    assert np.ptp(pixels, axis=2).max() == 0
    assert np.abs(pixels[..., 0].astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(form):
    bits = SCENE[..., 1] > 0
    pixels = decode(files.save(Image.fromarray(bits), form))
    np.testing.assert_array_equal(pixels, np.repeat(bits[..., None] * np.uint8(255), 3, axis=2))


def test_white_is_zero_tiffs_are_turned_the_right_way_round():
    grey = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None], 80, axis=0)
    expected = np.repeat(grey[..., None], 3, axis=2)
    eight = files.tiff(255 - grey, photometric="miniswhite")
    sixteen = files.tiff(65535 - grey.astype(np.uint16) * 257, photometric="miniswhite")
    packed = files.tiff(255 - grey, photometric="miniswhite", compression="zlib")
    np.testing.assert_array_equal(decode(eight), expected)
    np.testing.assert_array_equal(decode(packed), expected)
    np.testing.assert_array_equal(decode(sixteen), expected)


def test_the_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(files.png(SCENE))
    np.testing.assert_array_equal(decode(path), SCENE)
    assert peek(path) == (112, 80, "PNG")


# --- Depth ---


def sixteen_bit_files(values):
    grey = np.full((80, 80), values, np.uint16) if np.isscalar(values) else values
    colour = np.repeat(grey[..., None], 3, axis=2)
    return [
        files.png(grey),
        files.png(colour),
        files.tiff(grey, photometric="minisblack"),
        files.tiff(colour, photometric="rgb"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (0x8000, 128), (65535, 255), (257 * 9, 9), (257 * 9 + 128, 9), (257 * 9 + 129, 10)]
)
def test_sixteen_bits_are_rounded_to_eight(value, expected):
    grey = np.full((80, 80), value, np.uint16)
    grey[0, 0] = 65535  # says that the whole range is used
    for data in sixteen_bit_files(grey):
        assert decode(data)[40, 40].tolist() == [expected] * 3


@pytest.mark.parametrize(("top", "value", "expected"), [(4095, 2048, 128), (255, 77, 77), (4096, 2048, 8)])
def test_a_depth_left_empty_at_the_top_is_recognised(top, value, expected):
    grey = np.full((80, 80), value, np.uint16)
    grey[0, 0] = top
    for data in sixteen_bit_files(grey):
        assert decode(data)[40, 40].tolist() == [expected] * 3


def test_a_tiff_that_states_its_highest_sample_is_believed():
    grey = np.full((80, 80), 8191, np.uint16)
    stated = [(281, "H", 1, 16383, False)]
    assert decode(files.tiff(grey, extratags=stated))[0, 0, 0] == 127
    grey[0, 0] = 20000  # above what is stated: the statement is wrong
    assert decode(files.tiff(grey, extratags=stated))[1, 0, 0] == 32


# --- Colour ---


def test_a_pure_red_cmyk_jpeg_is_red():
    inks = Image.merge("CMYK", [Image.new("L", (80, 80), v) for v in (0, 255, 255, 0)])
    data = files.save(inks, "JPEG", quality=95)
    assert b"Adobe" in data  # whose inks are stored inverted
    assert np.abs(decode(data).astype(int) - RED).max() <= 3


def test_a_cmyk_profile_is_used():
    cyan = Image.new("CMYK", (80, 80), (255, 0, 0, 0))
    pixels = decode(files.save(cyan, "TIFF", icc_profile=files.cmyk_profile()))
    # Lightness 75 is luminance .4828, which is 184.6 of 255 in sRGB.
    assert np.abs(pixels.astype(int) - 184.6).max() <= 1.5


def p3_to_srgb(colour):
    """By hand, with the matrices of the two spaces."""
    value = np.asarray(colour) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    linear = np.clip(np.linalg.solve(files.SRGB, files.P3 @ linear), 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WebP"])
def test_display_p3_is_converted_to_srgb(form):
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    image = Image.new("RGB", (80, 80), (180, 100, 60))
    pixels = decode(files.save(image, form, icc_profile=files.rgb_profile(), **options))
    expected = p3_to_srgb((180, 100, 60))
    assert abs(expected[0] - 180) > 8  # the profile does something
    assert np.abs(pixels - expected).max() <= 2.5


def test_a_profile_of_a_sixteen_bit_picture_is_used():
    colour = np.full((80, 80, 3), (180, 100, 60), np.uint16) * 257
    compressed = files.zlib.compress(files.rgb_profile())
    data = files.png(colour, extra=files.chunk(b"iCCP", b"p3\0\0" + compressed))
    assert np.abs(decode(data) - p3_to_srgb((180, 100, 60))).max() <= 1.5


def test_a_grey_profile_is_used():
    image = Image.new("L", (80, 80), 128)
    linear = files.grey_profile(1.0)
    # Half the light is 188 in sRGB.
    for form in ("JPEG", "PNG"):
        pixels = decode(files.save(image, form, icc_profile=linear))
        assert np.abs(pixels.astype(int) - 188).max() <= 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WebP"])
def test_profiles_that_are_srgb_broken_or_of_another_space_change_nothing(form):
    broken = files.rgb_profile()[:200] + bytes(100)
    for profile in (files.rgb_profile(files.SRGB), broken, b"nonsense", files.cmyk_profile()):
        image = files.smooth()
        options = {"icc_profile": profile} | ({"lossless": True} if form == "WebP" else {})
        plain = {key: value for key, value in options.items() if key != "icc_profile"}
        expected = decode(files.save(image, form, **plain))
        np.testing.assert_array_equal(decode(files.save(image, form, **options)), expected)


def test_a_profile_in_two_parts_of_a_jpeg_is_put_together():
    profile = files.rgb_profile()
    data = files.save(Image.new("RGB", (80, 80), (180, 100, 60)), "JPEG", quality=100)
    for number, part in ((1, profile[:200]), (2, profile[200:])):  # so 2 comes before 1
        data = files.insert_after_start(data, 0xE2, b"ICC_PROFILE\0" + bytes([number, 2]) + part)
    assert np.abs(decode(data) - p3_to_srgb((180, 100, 60))).max() <= 2.5


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WebP"])
def test_what_is_transparent_lies_over_black(form):
    alpha = np.full((80, 112), 255, np.uint8)
    alpha[:40], alpha[40:, :56] = 0, 128
    data = files.save(np.dstack([SCENE, alpha]), form, **({"lossless": True} if form == "WebP" else {}))
    pixels = decode(data)
    assert not pixels[:40].any()
    assert pixels[60, 20].tolist() == [0, 0, 128]
    assert pixels[60, 90].tolist() == list(WHITE)


@pytest.mark.parametrize(
    ("value", "alpha", "expected"), [(201, 128, 101), (100, 128, 50), (255, 254, 254), (1, 127, 0)]
)
def test_transparency_is_rounded_to_nearest(value, alpha, expected):
    pixels = np.full((80, 80, 4), value, np.uint8)
    pixels[..., 3] = alpha
    assert decode(files.png(pixels))[0, 0].tolist() == [expected] * 3


def test_transparency_of_palettes_and_sixteen_bits_lies_over_black_too():
    palette = Image.fromarray(SCENE).quantize(4)
    clear = palette.getpixel((0, 0))
    pixels = decode(files.save(palette, "PNG", transparency=clear))
    assert not pixels[:40, :56].any()
    assert pixels[60, 90].tolist() == list(WHITE)
    half = np.full((80, 112), 0x8000, np.uint16)
    for values in (SIXTEEN, SIXTEEN[..., 2]):
        assert decode(files.png(np.dstack([values, half])))[60, 90].tolist() == [128] * 3


@pytest.mark.parametrize(("kind", "expected"), [("unassalpha", 50), ("assocalpha", 100), ("unspecified", 100)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("deep", [False, True])
def test_the_kind_of_a_tiffs_fourth_channel_counts(kind, expected, options, deep):
    values = np.full((80, 80, 4), 100, np.uint8)
    values[..., 3] = 128
    values[:8, :8] = 255
    values = values.astype(np.uint16) * 257 if deep else values
    pixels = decode(files.tiff(values, photometric="rgb", extrasamples=[kind], **options))
    assert np.abs(pixels[40, 40].astype(int) - expected).max() <= 1
    assert pixels[0, 0].tolist() == [255] * 3


def test_an_alpha_that_nobody_filled_in_is_left_out():
    data = files.png(np.dstack([SCENE, np.zeros((80, 112), np.uint8)]))
    np.testing.assert_array_equal(decode(data), SCENE)


# --- Turns ---

# Corners top left, top right, bottom left, bottom right, as stored: R G / B W.
SEEN = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


def turned(form, orientation):
    if "TIFF" in form:
        values = SIXTEEN if "16-bit" in form else SCENE
        turn = [(274, "H", 1, orientation, True)]
        packed = {"compression": "zlib"} if "deflate" in form else {}
        return files.tiff(values, photometric="rgb", extratags=turn, **packed)
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    return files.save(SCENE, form, exif=files.exif(orientation), **options)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF", "deflate TIFF", "16-bit TIFF"])
@pytest.mark.parametrize("orientation", SEEN)
def test_exif_orientation_is_applied(form, orientation):
    data = turned(form, orientation)
    pixels = decode(data)
    height, width = (80, 112) if orientation < 5 else (112, 80)
    assert pixels.shape == (height, width, 3)
    assert pixels.flags.c_contiguous
    assert peek(data) == (width, height, form.split()[-1])
    corners = [pixels[y, x].astype(int) for y in (4, -5) for x in (4, -5)]
    assert np.abs(np.array(corners) - SEEN[orientation]).max() <= 3
    if "TIFF" not in form:  # a second opinion; Pillow turns a TIFF by itself
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.abs(pixels - np.asarray(expected).astype(int)).max() <= 3


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_out_of_range_means_upright(value):
    np.testing.assert_array_equal(decode(turned("PNG", value)), SCENE)


# --- Reduced scale ---


@pytest.mark.parametrize(
    ("least", "expected"), [(None, 480), (480, 480), (241, 480), (240, 240), (121, 240), (120, 120), (60, 60), (1, 60)]
)
def test_jpeg_comes_as_small_as_min_side_allows(least, expected):
    data = files.save(files.smooth(480, 640), "JPEG")
    pixels = decode(data, min_side=least)
    assert pixels.shape == (expected, expected * 4 // 3, 3)


@pytest.mark.parametrize("size", [(161, 243), (243, 161), (333, 129)])
def test_odd_sizes_keep_at_least_min_side_at_every_scale(size):
    data = files.save(Image.fromarray(files.smooth(*[16 * 22] * 2)).resize(size), "JPEG")
    for least in range(1, 130, 8):
        assert min(decode(data, min_side=least).shape[:2]) >= least


def test_a_reduced_jpeg_is_a_small_version_of_the_whole():
    data = files.save(files.smooth(480, 640), "JPEG", exif=files.exif(6), quality=95)
    small = decode(data, min_side=120)
    whole = Image.fromarray(decode(data)).resize((120, 160), Image.Resampling.BOX)
    assert small.shape == (160, 120, 3)
    assert np.abs(small.astype(int) - np.asarray(whole)).mean() < 2


def test_min_side_is_checked_and_ignored_by_other_formats():
    with pytest.raises(ValueError, match="min_side is 0"):
        decode(files.png(SCENE), min_side=0)
    assert decode(files.png(SCENE), min_side=20).shape == (80, 112, 3)


# --- Several pictures in one file ---


def test_previews_beside_the_photograph_are_no_trouble():
    small = SCENE[::2, ::2].copy()
    for data in (
        files.tiff_pages(SCENE, small),
        files.tiff_pages(small, SCENE),
        files.tiff_pages(small, SCENE.astype(np.uint16) * 257, reduced=(0,)),
        files.tiff_pages(SCENE, SCENE, reduced=(1,)),
    ):
        np.testing.assert_array_equal(decode(data), SCENE)
        assert peek(data) == (112, 80, "TIFF")


def test_real_photographs_decode_alike_in_pillow(shared_data):
    paths = sorted(shared_data.glob("*/**/*.jpg"))[::400]
    assert paths
    for path in paths:
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
        assert np.abs(decode(path) - expected).max() <= 2


def test_files_are_read_up_to_the_limit(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(1000))
    assert len(read_bytes(path, Limits(max_bytes=1000))) == 1000
    with pytest.raises(ImageError, match=r"a\.png: the file has 0\.0 MiB"):
        read_bytes(path, Limits(max_bytes=999))


def global_settings():
    return warnings.filters[:], Image.MAX_IMAGE_PIXELS, cv2.utils.logging.getLogLevel()


def test_nothing_is_left_changed_in_the_libraries():
    before = global_settings()
    decode(EXACT["16-bit TIFF"])
    decode(EXACT["palette PNG"])
    assert global_settings() == before


@pytest.mark.parametrize("sides", [(20, 500), (20, 39), (20, 41), (40, 70), (10, 19), (10, 21)])
def test_one_picture_serves_two_sizes_exactly_where_it_is_said_to(sides):
    for data in (files.save(SCENE, "JPEG"), files.png(SCENE)):
        one, other = (decode(data, min_side=side) for side in sides)
        same = one.shape == other.shape and bool((one == other).all())
        assert same_scale(data, *sides) == same
