"""Procedural fundus photographs with known truth. Never quote accuracy on them as clinical.

`generate` writes a folder of them, the same for each seed:

OUT/phantom.json              what was asked for; marks the folder as ours
OUT/images/P00000_R_m012.jpg  subject, eye, months since the first visit
OUT/masks/P00000_R_m012.png   all masks of the image, one bit for each kind
OUT/manifest.csv              written last, so its presence says that all is there
"""

import csv
import io
import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.errors import ConfigError, ImageError
from foveola.phantom.anatomy import COURSE, EyeModel, Subject, make_eye, make_subject, stream
from foveola.phantom.drawing import Bytes
from foveola.phantom.lesions import Disease, Lesion, progress
from foveola.phantom.rendering import KINDS, Phantom, paint_ground, render
from foveola.records import Eye
from foveola.resources import AnyPath, told_of

__all__ = [
    "KINDS",
    "Disease",
    "EyeModel",
    "Lesion",
    "Phantom",
    "Subject",
    "generate",
    "grades",
    "make_eye",
    "make_subject",
    "paint_ground",
    "progress",
    "read_masks",
    "render",
]

COMMENT: Final = "Foveola phantom - not a patient"
COLUMNS: Final = (
    *("image", "subject", "eye", "visit", "grade", "findings", "age", "sex", "camera", "masks"),
    *("ma", "he", "ex", "se", "nv", "irma", "beading", "preretinal", "drusen", "phantom"),
)
MONTHS: Final = 12  # from visit to visit
_EYES: Final[tuple[Eye, Eye]] = ("right", "left")
_MARKER: Final = "phantom.json"
_NAME: Final = re.compile(r"P\d{5,}_[RL]_m\d{3,}\.(jpg|png)(\.part)?")
_FIRST_GRADE: Final = (0.36, 0.18, 0.20, 0.14, 0.12)
Row = dict[str, str | int]


def generate(
    out: AnyPath,
    *,
    subjects: int,
    visits: int,
    seed: int = 0,
    size: int = 512,
    masks: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write both eyes of so many subjects at so many yearly visits.

    A subject's files depend on the seed, its number, size and the versions of numpy and
    OpenCV; neither on how many subjects or visits are asked for nor on the workers. A run
    that was killed can be repeated; a folder of another run is overwritten.

    Args:
        out: a new or empty folder, or one written by this function.
        subjects: number of people, at least 1; images = subjects x 2 x visits.
        visits: at 0, 12, 24 ... months, at least 1.
        seed: of everything, at least 0.
        size: side of the square images in pixels, 128 to 2048.
        masks: whether to write masks too.
        workers: threads; all processors, up to 8, if None.
        progress: called with (images done, images in all), in the calling thread.

    Returns:
        The manifest's path.

    Raises:
        ConfigError: a number is out of range, or `out` holds something else.
    """
    _check(subjects=subjects, visits=visits, seed=seed, size=size, workers=workers)
    out = Path(out)
    _claim(out, {"subjects": subjects, "visits": visits, "seed": seed, "size": size})
    jobs = [(seed, number, eye) for number in range(subjects) for eye in _EYES]
    rows: list[Row] = []

    def work(job: tuple[int, int, Eye]) -> list[Row]:
        return _write_eye(out, make_subject(job[0], job[1]), job[2], visits, size, masks)

    with _one_thread_each(), ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        try:
            for done in pool.map(work, jobs):
                rows += done
                if progress is not None:
                    progress(len(rows), len(jobs) * visits)
        except BaseException:  # Ctrl-C must not wait for all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _write_manifest(out / "manifest.csv", rows)


def grades(subject: Subject, eye: Eye, visits: int) -> list[int]:
    """Draw the ICDR grade at each visit: it stays or rises, and the fellow eye is seldom far off."""
    shared = stream(subject.seed, subject.number, "both", 0, COURSE)
    own = stream(subject.seed, subject.number, eye, 0, COURSE + 100)
    grade = int(shared.choice(5, p=_FIRST_GRADE))
    if own.random() < 0.3:
        grade = min(4, max(0, grade + (1 if own.random() < 0.5 else -1)))
    pace, course = float(shared.uniform(0.1, 0.4)), [grade]
    for _ in range(visits - 1):
        grade = min(4, grade + int(own.random() < pace))
        course.append(grade)
    return course


def read_masks(path: AnyPath) -> dict[str, NDArray[np.bool_]]:
    """Read the masks of one image, kind -> (S, S) bool, from a mask file written by generate.

    Raises:
        ImageError: the file is missing or no 8-bit grey PNG.
    """
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        bits = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except OSError as error:
        raise ImageError(f"can't read the mask file: {error.strerror}") from None
    if bits is None or bits.ndim != 2 or bits.dtype != np.uint8:
        raise ImageError("expected a phantom's mask file, an 8-bit grey PNG with a bit a kind")
    return {kind: np.bitwise_and(bits, 1 << k) > 0 for k, kind in enumerate(KINDS)}


def encode_jpeg(image: Bytes, *, quality: int = 92) -> bytes:
    """Encode an RGB image (H, W, 3) as a JPEG whose comment says that it is no patient's."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    jpeg, text = data.tobytes(), COMMENT.encode("ascii")
    # SOI, then APP0, which JFIF wants first; the comment goes behind these two.
    end = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:end] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[end:]


def _write_eye(out: Path, subject: Subject, eye: Eye, visits: int, size: int, masks: bool) -> list[Row]:
    model, course = make_eye(subject, eye), grades(subject, eye, visits)
    ground, rows = paint_ground(model, size), []
    months = [MONTHS * v for v in range(visits)]
    for v in range(visits):
        phantom = render(model, course[: v + 1], months=months[: v + 1], size=size, ground=ground)
        stem = f"P{subject.number:05d}_{eye[0].upper()}_m{months[v]:03d}"
        _replace(out / "images" / f"{stem}.jpg", encode_jpeg(phantom.image))
        if masks:
            _replace(out / "masks" / f"{stem}.png", _encode_masks(phantom.masks))
        rows.append(_row(phantom, subject, eye, months[v], stem, masks))
    return rows


def _row(phantom: Phantom, subject: Subject, eye: Eye, months: int, stem: str, masks: bool) -> Row:
    disease = phantom.disease
    kinds = ("MA", "HE", "EX", "SE", "NV", "IRMA", "preretinal", "drusen")
    counts: Row = {kind.lower(): disease.count(kind) for kind in kinds}
    return counts | {
        "image": f"images/{stem}.jpg",
        "subject": f"P{subject.number:05d}",
        "eye": eye,
        "visit": months,
        "grade": disease.grade,
        "findings": disease.findings(),
        "age": subject.age + months // 12,
        "sex": subject.sex,
        "camera": phantom.shot.camera.name,
        "masks": f"masks/{stem}.png" if masks else "",
        "beading": len(disease.beading),
        "phantom": 1,
    }


def _encode_masks(masks: Mapping[str, NDArray[np.bool_]]) -> bytes:
    bits = np.zeros_like(next(iter(masks.values())), np.uint8)
    for k, kind in enumerate(KINDS):
        bits |= masks[kind].astype(np.uint8) << k
    done, data = cv2.imencode(".png", bits)
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return bytes(data.tobytes())


def _write_manifest(path: Path, rows: list[Row]) -> Path:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _replace(path, table.getvalue().encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    """Write so that the file is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        with told_of(path, part):
            part.write_bytes(data)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check(*, subjects: int, visits: int, seed: int, size: int, workers: int | None) -> None:
    for name, value, low, high in (
        ("subjects", subjects, 1, 1_000_000),
        ("visits", visits, 1, 100),
        ("seed", seed, 0, 2**63),
        ("size", size, 128, 2048),
        ("workers", 1 if workers is None else workers, 1, 256),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{name} is {value}; expected {low} to {high}")


def _claim(out: Path, asked: dict[str, Any]) -> None:
    """Make the folder ours: refuse a stranger's, clear what an earlier run of ours left."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; expected a folder for the phantom to be written to")
    if out.is_dir() and any(out.iterdir()) and not (out / _MARKER).is_file():
        raise ConfigError(
            f"{out} is not empty and holds no phantom ({_MARKER} is missing); name a new or an empty folder"
        )
    (out / "manifest.csv").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"made_by": "foveola phantom", "note": COMMENT, **asked}, indent=1)
    _replace(out / _MARKER, text.encode() + b"\n")  # first: what follows is ours, also if it fails
    for folder in (out / "images", out / "masks"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name):
                path.unlink()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Our threads each do a whole eye, so OpenCV's own would only get in their way."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
