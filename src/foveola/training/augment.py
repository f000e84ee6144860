"""Changes of a prepared photograph that leave its diagnosis as it is.

Everything here imitates what differs between cameras and visits: framing, side, exposure,
colour, focus, compression. Nothing may erase a microaneurysm, which at 256 px is one or two
pixels wide, so blur and noise stay far below that.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def augment(image: Pixels, size: int, rng: np.random.Generator, kind: str = "fundus") -> Pixels:
    """Return a random variant of an image.

    Args:
        image: (S, S, 3) uint8, a prepared field of view; S above size keeps it sharp.
        size: pixels of each side of the result.
        rng: source of all randomness.
        kind: "fundus" as above; "mild", what the AdaTriplet paper does (crop, 10 degrees, gamma,
            noise), which keeps sides and colours apart; "identity", all that may lie between two
            photographs of one eye, see `_another_visit`; "steady", a crop of 85 to 100 %, flips
            and quarter turns, which soften nothing, and the small changes of pixels that another
            file of the same photograph brings; "none", the middle of the image.

    Returns:
        (size, size, 3) uint8.
    """
    if kind == "none":
        return centre(image, size)
    if kind == "mild":
        return _mild(image, size, rng)
    if kind == "identity":
        return _another_visit(image, size, rng)
    if kind == "steady":
        return _another_file(image, size, rng)
    changed = _move(image, size, rng)
    changed = _recolour(changed, rng)
    if rng.random() < 0.3:
        changed = _light(changed, rng)
    if rng.random() < 0.2:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.3, 0.8)).astype(np.uint8)
    return _compress(changed, rng) if rng.random() < 0.2 else changed


def centre(image: Pixels, size: int) -> Pixels:
    """(S, S, 3) -> (size, size, 3), the whole image scaled down; what is judged, not trained on."""
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _mild(image: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    source = image.shape[0]
    matrix = cv2.getRotationMatrix2D((source / 2, source / 2), rng.uniform(-10, 10), 1.0)
    room = source - size  # a crop of the packed image, somewhere
    x, y = rng.uniform(0, max(room, 1e-9), 2)
    matrix += np.array([[0, 0, -x], [0, 0, -y]])
    changed = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        table = 255 * (np.arange(256) / 255) ** rng.uniform(0.5, 1.5)
        changed = cv2.LUT(changed, table.astype(np.uint8))
    if rng.random() < 0.5:
        noise = rng.normal(0, 0.3 * rng.random() * 25, changed.shape)
        changed = np.clip(changed + noise, 0, 255)
    return changed.astype(np.uint8)


def _another_file(image: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """A crop, mirrored or turned by quarters; other colours, and at times other pixels."""
    source = image.shape[0]
    side = source * rng.uniform(0.85, 1)
    angle = rng.uniform(-8, 8)
    matrix = cv2.getRotationMatrix2D((source / 2, source / 2), angle, size / side)
    room = (source - side) / 2 * size / side
    matrix[:, 2] += size / 2 - source / 2 + rng.uniform(-room, room, 2)
    changed: Pixels = cv2.warpAffine(image, matrix, (size, size)).astype(np.uint8)
    changed = np.rot90(changed, int(rng.integers(4)))
    if rng.random() < 0.5:
        changed = changed[:, ::-1]
    changed = _recolour(np.ascontiguousarray(changed), rng)
    if rng.random() < 0.2:
        changed = _light(changed, rng)
    if rng.random() < 0.3:
        changed = _compress(changed, rng)
    if rng.random() < 0.3:
        changed = _resample(changed, rng)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0.3, 2), changed.shape)
        changed = np.clip(changed + noise, 0, 255).astype(np.uint8)
    return changed


def _another_visit(image: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """The same eye by another camera, years later: vessels and disc are all that stays.

    Turned by up to 30 degrees, down to 60 % of the field, never mirrored, which would be the
    fellow eye; other light, colours, focus and compression; blots that hide parts, as lesions and
    dirt do. A quarter keeps nothing but its green channel.
    """
    source = image.shape[0]
    angle, scale = rng.uniform(-30, 30), np.exp(rng.uniform(np.log(0.9), np.log(1.67)))
    turn = cv2.getRotationMatrix2D((0, 0), angle, scale * size / source)[:, :2]
    turn = turn * (1 + rng.uniform(-0.04, 0.04, (2, 2)))  # a little stretched and sheared
    room = max(0.05, (scale - 1) / 2)
    shift = size / 2 - turn @ [source / 2, source / 2] + rng.uniform(-room, room, 2) * size
    matrix = np.column_stack([turn, shift])
    changed = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.uint8)
    if rng.random() < 0.5:
        changed = _blots(changed, rng)
    if rng.random() < 0.25:
        changed = np.repeat(changed[..., 1:2], 3, axis=2)
    changed = _recolour(changed, rng, strength=1.7)
    if rng.random() < 0.7:
        changed = _light(changed, rng, most=0.7)
    if rng.random() < 0.4:
        changed = _refocus(changed, rng)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 8), changed.shape)
        changed = np.clip(changed + noise, 0, 255).astype(np.uint8)
    return _compress(changed, rng) if rng.random() < 0.3 else changed


def _blots(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Dark and bright spots of up to a tenth of the image, blurred at their edges."""
    size = image.shape[0]
    canvas, result = np.zeros((size, size), np.float32), image.astype(np.float32)
    for colour in ((60, 15, 10), (235, 200, 130)):
        canvas[:] = 0
        for _ in range(int(rng.integers(0, 9))):
            at = rng.integers(0, size, 2).tolist()
            axes = np.maximum(1, rng.exponential(0.02, 2).clip(max=0.05) * size).astype(int).tolist()
            cv2.ellipse(canvas, at, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
        density = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 2))[..., None] * rng.uniform(0.4, 1)
        result += density * (np.array(colour, np.float32) - result)
    result[image.max(axis=2) == 0] = 0
    return result.astype(np.uint8)


def _refocus(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Softer, or sharper than it was taken."""
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.65:
        return blurred.astype(np.uint8)
    amount = rng.uniform(0.3, 1.2)
    return cv2.addWeighted(image, 1 + amount, blurred, -amount, 0).astype(np.uint8)


def _resample(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Scaled down to 80 to 100 % and up again, by filters drawn at random."""
    size = image.shape[0]
    small = round(size * rng.uniform(0.8, 1))
    down = (cv2.INTER_AREA, cv2.INTER_LINEAR)[int(rng.integers(2))]
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
    reduced = cv2.resize(image, (small, small), interpolation=down)
    return cv2.resize(reduced, (size, size), interpolation=up).astype(np.uint8)


def _move(image: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Turn, scale, shift and mirror in one interpolation."""
    source = image.shape[0]
    angle, scale = rng.uniform(-25, 25), rng.uniform(0.88, 1.2)
    matrix = cv2.getRotationMatrix2D((source / 2, source / 2), angle, scale * size / source)
    matrix[:, 2] += size / 2 - source / 2 + rng.uniform(-0.05, 0.05, 2) * size
    if rng.random() < 0.5:  # the other eye
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    if rng.random() < 0.25:  # upside down happens with some lenses, and keeps lesions apart from place
        matrix[1] = -matrix[1]
        matrix[1, 2] += size - 1
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.uint8)


def _recolour(image: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    """Exposure, contrast and white balance, as one table for each channel."""
    x = np.arange(256) / 255
    gamma, contrast = np.exp(strength * rng.normal(0, (0.2, 0.12)))
    gains = np.exp(strength * (rng.normal(0, 0.12) + rng.normal(0, 0.1, 3)))
    curve = np.clip(0.4 + contrast * (x**gamma - 0.4), 0, 1)
    curve[0] = 0  # the surround stays black
    table = np.clip(curve[:, None] * gains * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None]).astype(np.uint8)


def _light(image: Pixels, rng: np.random.Generator, most: float = 0.4) -> Pixels:
    """Uneven illumination: brighter towards one side."""
    size = image.shape[0]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, most)
    slope = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]
    lit: Pixels = np.clip(image * (1 + strength * slope)[..., None], 0, 255).astype(np.uint8)
    return lit


def _compress(image: Pixels, rng: np.random.Generator) -> Pixels:
    quality = int(rng.integers(60, 95))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:  # can't happen: the bytes are OpenCV's own
        raise RuntimeError("OpenCV could not read its own JPEG")
    return decoded.astype(np.uint8)
