"""Mutated pictures of every format, and DICOM, through `foveola index`: memory, time, tracebacks.

    python tests/campaigns/pictures.py --rounds 10000

Each batch is one folder that one process indexes (dicom://FOLDER for DICOM) into an archive of
its own. Looked at: how it ends (0 or 3), that no traceback or line of a library shows, the most
memory that it or a child of it held, and the time that each picture took (batches that are slow
are gone over again, one by one).
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "images"), str(Path(__file__).parents[1])]

BATCH = 100
MOST_MEMORY, MOST_SECONDS = 512, 10.0  # MiB of a process, of the clock for a picture
REPLACED = (0, 255, 1, 127, 128)

INDEX = """if True:
    import json, pathlib, resource, sys
    from foveola.cli.commands import main
    try:
        code = main(sys.argv[1:], standalone_mode=False) or 0
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        code = getattr(error, "exit_code", None)
        code = repr(error) if code is None else code
    from foveola.images.limited import POOL
    POOL.close()
    # Not its own ru_maxrss, which begins with what the process that started this one held.
    own = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    peaks = int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print("PEAK", json.dumps([code, *(peak // 1024 for peak in peaks)]))
"""


def seeds():
    """{name: file} of every format, and of DICOM in every transfer syntax that is read."""
    import files
    import simplejpeg
    import test_decode_bad
    from pydicom import uid

    import dicoms

    pixels = files.smooth(96, 128)
    made = {name: (data, False) for name, data in test_decode_bad.SEEDS.items()}
    grey = np.ascontiguousarray(pixels[..., 0])
    deep = grey.astype(np.uint16) << 4
    jpeg = simplejpeg.encode_jpeg(pixels)
    windowed = dicoms.with_pixels(
        deep, bits=12, WindowCenter=2000, WindowWidth=4000, RescaleSlope=1, RescaleIntercept=0
    )
    palette = dicoms.with_pixels(grey, "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data = (np.arange(256) * 257).astype("<u2").tobytes()
        setattr(palette, f"{colour}PaletteColorLookupTableData", data)
    frames = np.stack([pixels] * 3)
    many = dicoms.with_pixels(frames, frames=3, sop_class=dicoms.SECONDARY_CAPTURE + ".4")
    objects = {
        "plain": dicoms.to_bytes(dicoms.with_pixels(pixels)),
        "big-endian": dicoms.to_bytes(dicoms.with_pixels(pixels), uid.ExplicitVRBigEndian),
        "deflated": dicoms.to_bytes(dicoms.with_pixels(pixels), uid.DeflatedExplicitVRLittleEndian),
        "window": dicoms.to_bytes(windowed),
        "palette": dicoms.to_bytes(palette),
        "frames": dicoms.to_bytes(many),
        "JPEG": dicoms.to_bytes(dicoms.encapsulated(pixels, [jpeg], "YBR_FULL_422"), uid.JPEGBaseline8Bit),
        **{
            syntax.name: dicoms.compressed(pixels, syntax)
            for syntax in (uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless)
        },
    }
    return made | {f"DICOM {name}": (data, True) for name, data in objects.items()}


def mutated(data, rng):
    """Bytes changed near headers or anywhere, a piece cut, doubled, zeroed, or the end cut off."""
    out = bytearray(data)
    kind = rng.random()
    at = int(rng.integers(len(out)))
    size = int(rng.integers(1, 200))
    if kind < 0.12:
        return bytes(out[:at])
    if kind < 0.2:
        del out[at : at + size]
    elif kind < 0.28:
        out[at:at] = out[at : at + size]
    elif kind < 0.34:
        out[at : at + size] = bytes(size)
    reach = len(out) if rng.random() < 0.4 else min(len(out), 700)
    for spot in rng.integers(max(reach, 1), size=rng.integers(1, 6)):
        if spot < len(out):
            out[spot] = int(rng.choice([*REPLACED, out[spot] ^ (1 << int(rng.integers(8)))]))
    return bytes(out)


def index(folder, archive, *, dicom):
    """(seconds, code, peak of either process in MiB, what was said) of one run."""
    source = f"dicom://{folder}" if dicom else str(folder)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INDEX, "index", str(archive), source, "--json"],
        capture_output=True,
        text=True,
        timeout=3600,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    seconds = time.monotonic() - begun
    lines = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    said = done.stdout + done.stderr
    if not lines:
        return seconds, f"ended with {done.returncode}", 0, said
    code, *peaks = json.loads(lines[-1].removeprefix("PEAK "))
    return seconds, code, max(peaks), said


def batch(name, data, dicom, count, rng, found):
    """Index so many mutations of one file, and note what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "pictures")
        folder.mkdir()
        for number in range(count):
            suffix = ".dcm" if dicom else ".png"
            (folder / f"{number:05}{suffix}").write_bytes(mutated(data, rng))
        seconds, code, peak, said = index(folder, Path(place, "archive"), dicom=dicom)
        found["pictures"] += count
        found["peak"] = max(found["peak"], peak)
        found["codes"][str(code)] += 1
        wrong = [f"{name}: ended with {code}"] if code not in (0, 1, 3) else []
        wrong += [f"{name}: a traceback"] * ("Traceback" in said)
        wrong += [f"{name}: {peak} MiB"] * (peak > MOST_MEMORY)
        if seconds > MOST_SECONDS + 5:
            wrong += slow(name, folder, found)
        for line in wrong:
            print(line, file=sys.stderr, flush=True)
            print(said[-2000:], file=sys.stderr)
        found["wrong"] += wrong


def slow(name, folder, found):
    """Which pictures of a batch take long, each alone."""
    late = []
    for path in sorted(folder.iterdir()):
        # Twice, as a machine that has other work to do, or starts a child, is slow once.
        seconds = min(seconds_of(path), seconds_of(path))
        found["slowest"] = max(found["slowest"], seconds)
        if seconds > MOST_SECONDS:
            late.append(f"{name}: {path.name} took {seconds:.1f} s")
    return late


def seconds_of(path):
    """Seconds by the clock that decoding a file takes."""
    from foveola.errors import FoveolaError
    from foveola.images.decode import decode

    begun = time.monotonic()
    with contextlib.suppress(FoveolaError):
        decode(path, min_side=480)
    return time.monotonic() - begun


def campaign(rounds, seed=0, only=None):
    """Counts, the peak and what was wrong, of so many pictures."""
    rng = np.random.default_rng(seed)
    kinds = {name: of for name, of in seeds().items() if only is None or only in name}
    found = {"pictures": 0, "peak": 0, "slowest": 0.0, "codes": Counter(), "wrong": []}
    each = max(1, rounds // len(kinds))
    for name, (data, dicom) in kinds.items():
        for start in range(0, each, BATCH):
            batch(name, data, dicom, min(BATCH, each - start), rng, found)
        print(name, found["pictures"], found["peak"], "MiB", flush=True)
    return found


def main():
    """Read the arguments, run, print, and fail where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10_000, help="pictures in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="formats whose name holds this")
    given = parser.parse_args()
    found = campaign(given.rounds, given.seed, given.only)
    print(json.dumps(found))
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()
