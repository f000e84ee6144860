"""Pictures that no archive can say anything of, drawn here."""

import html
import re

import cv2
import numpy as np

SIZE = 512
WARM = np.array([1.0, 0.6, 0.35])  # of red, green and blue


def chest():
    """Grey, like a radiograph of the chest: two dark lungs, ribs and a bright spine."""
    image = np.full((SIZE, SIZE), 150, np.uint8)
    for x in (160, 352):
        cv2.ellipse(image, (x, 270), (85, 170), 0, 0, 360, 45, -1)
        for y in range(140, 420, 40):
            cv2.ellipse(image, (x, y + 40), (100, 45), 0, 190, 350, 110, 6)
    cv2.rectangle(image, (240, 0), (272, SIZE), 215, -1)
    return np.repeat(cv2.GaussianBlur(image, (0, 0), 3)[..., None], 3, axis=2)


def cat():
    """A ginger cat on grass, in strong colours."""
    image = np.full((SIZE, SIZE, 3), (70, 160, 70), np.uint8)
    for x in (150, 362):
        ear = np.array([(x - 60, 220), (x, 60), (x + 60, 220)], np.int32)
        cv2.fillPoly(image, [ear], (225, 130, 40))
    cv2.circle(image, (256, 290), 160, (235, 140, 50), -1)
    for x in (195, 317):
        cv2.circle(image, (x, 250), 28, (90, 200, 60), -1)
        cv2.ellipse(image, (x, 250), (8, 26), 0, 0, 360, (10, 10, 10), -1)
    cv2.fillPoly(image, [np.array([(236, 310), (276, 310), (256, 335)], np.int32)], (240, 150, 170))
    for y in (320, 340, 360):
        cv2.line(image, (60, y - 20), (220, y), (250, 250, 250), 3)
        cv2.line(image, (452, y - 20), (292, y), (250, 250, 250), 3)
    return image


def black():
    """A frame in which the camera saw nothing."""
    return np.zeros((SIZE, SIZE, 3), np.uint8)


def noise():
    """Grains of every colour."""
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def blotches():
    """The same, smooth and warm as a retina is."""
    grains = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.uint8(cv2.resize(grains, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) * WARM)


def plain():
    """A frame in one grey."""
    return np.full((SIZE, SIZE, 3), 128, np.uint8)


def disc():
    """A disc in the colour of a retina, on black, with nothing in it."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(image, (SIZE // 2, SIZE // 2), SIZE // 2 - 16, (200, 90, 40), -1)
    return image


def tinted():
    """The radiograph in the colour of a retina."""
    return np.uint8(chest() * WARM)


def blurred(photograph):
    """A fundus photograph without any of its vessels."""
    return cv2.GaussianBlur(photograph, (0, 0), min(photograph.shape[:2]) / 25)


def tiny(photograph):
    """A copy of 64 pixels."""
    return cv2.resize(photograph, (64, 64), interpolation=cv2.INTER_AREA)


def unreadable(photograph):
    """Every picture of which no reader says anything, by its name."""
    made = {each.__name__: each() for each in (chest, cat, black, noise, blotches, plain, disc, tinted)}
    return made | {each.__name__: each(photograph) for each in (poor, blurred, tiny)}


def poor(photograph):
    """A fundus photograph of which hardly anything can be seen."""
    return _dark(photograph, 1.5, 0.09)


def far(photograph):
    """A dark and blurred one, which can be compared but has no sufficiently similar case."""
    return _dark(photograph, 2, 0.2)


def doubtful(photograph):
    """A dark and blurred one, which can be compared and read, with a warning."""
    return _dark(photograph, 2, 0.4)


def _dark(photograph, blur, light):
    return np.uint8(cv2.GaussianBlur(photograph, (0, 0), blur).astype(np.float32) * light)


def pictures(photograph):
    """Every such picture by its name; the photograph is (H, W, 3) uint8 RGB."""
    return {"chest": chest(), "cat": cat(), "black": black(), "poor": poor(photograph), "far": far(photograph)}


def write(path, pixels):
    """Write (H, W, 3) uint8 RGB as a PNG; returns the path."""
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def read(path):
    """(H, W, 3) uint8 RGB."""
    return cv2.imread(str(path))[..., ::-1]


SAID = re.compile(r"of 100|same (grade|findings) in|nearly equally likely", re.IGNORECASE)
CHANCE = re.compile(r"\d+ ?% \(|\d+ \(\d+ to \d+\)")  # 82 % (74 to 88), 55 (46 to 63)


def silent(text, name):
    """Check that a text states no share and no chance; a far picture may name a line of 99 %."""
    for pattern in (SAID, CHANCE, *([] if name == "far" else [re.compile("%")])):
        found = pattern.search(text)
        assert found is None, (name, text[max(0, found.start() - 60) : found.end() + 60])


def words(page):
    """What a person reads on a page, with what is read out for a picture."""
    bare = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.DOTALL)
    out = " ".join(re.findall(r'(?:aria-label|alt|title)="([^"]*)"', bare))
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", bare).split()) + " " + out)
