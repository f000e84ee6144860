"""How fast photographs are decoded, beside the plain libraries, and the slowest legal files.

    python benchmarks/decode.py            common sizes, ratios side by side
    python benchmarks/decode.py --threads  whether two threads decode more than one
    python benchmarks/decode.py --worst    the slowest kinds of each format, 16 million pixels

Pictures are soft noise made here; real photographs lie within a factor of two of them.
"""

import argparse
import io
import time
from collections.abc import Callable
from threading import Thread

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from foveola.images.decode import decode
from foveola.images.headers import read_header
from foveola.images.limits import Limits, estimated_seconds

Image.MAX_IMAGE_PIXELS = None


def soft_noise(width: int, height: int, coarse: int = 12) -> Image.Image:
    shape = (height // coarse + 1, width // coarse + 1, 3)
    small = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def best(call: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of `repeats` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def common() -> None:
    print(f"{'file':24}{'decode':>9}{'min 300':>9}{'ratio':>7}{'Pillow':>9}{'OpenCV':>9}   ms")
    for width, height in ((320, 320), (1024, 1024), (4288, 2848)):
        image = soft_noise(width, height)
        for form in ("JPEG", "PNG", "TIFF", "WebP", "BMP"):
            options = {"quality": 90} if form == "JPEG" else {}
            data = encoded(image, form, **options)
            repeats = 20 if width < 2000 else 3
            full = best(lambda data=data: decode(data), repeats)
            less = best(lambda data=data: decode(data, min_side=300), repeats)
            pillow = best(lambda data=data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), repeats)
            buffer = np.frombuffer(data, np.uint8)
            opencv = best(lambda b=buffer: cv2.imdecode(b, cv2.IMREAD_COLOR_RGB), repeats)
            name = f"{form} {width} x {height}"
            print(f"{name:24}{full:9.2f}{less:9.2f}{full / less:7.1f}{pillow:9.2f}{opencv:9.2f}")


def threads() -> None:
    image = soft_noise(2048, 1536)
    for form in ("JPEG", "PNG", "WebP"):
        data = encoded(image, form)

        def work(data: bytes = data) -> None:
            for _ in range(6):
                decode(data)

        def two(work: Callable[[], None] = work) -> None:
            pair = [Thread(target=work) for _ in range(2)]
            for thread in pair:
                thread.start()
            for thread in pair:
                thread.join()

        one, both = best(work, 3), best(two, 3)
        print(f"{form:6} two threads do {2 * one / both:.2f} times the work of one")


def worst() -> None:
    side = 4000
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    limits = Limits(max_bytes=2**30, max_seconds=1e9)
    progressive = encoded(noise, "JPEG", progressive=True, quality=90)
    cases = {
        "JPEG noise, quality 100": encoded(noise, "JPEG", quality=100, subsampling=0),
        "JPEG noise, 10 scans": progressive,
        "PNG noise": encoded(noise, "PNG", compress_level=1),
        "PNG 16 bit": cv2.imencode(".png", np.asarray(noise).astype(np.uint16) * 257)[1].tobytes(),
        "TIFF LZW noise": encoded(noise, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": encoded(noise, "TIFF", compression="tiff_deflate"),
        "WebP lossless noise": encoded(noise, "WebP", lossless=True, quality=0, method=0),
        "WebP lossy noise": encoded(noise, "WebP", quality=80, method=0),
        "BMP": encoded(noise, "BMP"),
    }
    print(f"{'file':26}{'seconds':>9}{'estimate':>10}{'ns/pixel':>10}{'MiB':>7}")
    for name, data in cases.items():
        start = time.process_time()
        decode(data, limits=limits)
        seconds = time.process_time() - start
        estimate = estimated_seconds(read_header(data))
        each = seconds / side**2 * 1e9
        print(f"{name:26}{seconds:9.2f}{estimate:10.2f}{each:10.1f}{len(data) / 2**20:7.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--worst", action="store_true")
    chosen = parser.parse_args()
    print("simplejpeg", ".".join(map(str, simplejpeg.__version_info__)), "OpenCV", cv2.__version__)
    worst() if chosen.worst else threads() if chosen.threads else common()


if __name__ == "__main__":
    main()
