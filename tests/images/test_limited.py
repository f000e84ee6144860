"""What a stranger's bytes can do: end a child, and nothing else."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicoms import colours, compressed, deflated, encapsulated, to_bytes, with_pixels
from foveola.errors import ImageError
from foveola.images.decode import decode
from foveola.images.limited import Pool
from foveola.images.limits import Limits

HERE = "misbehaving"


@pytest.fixture(scope="module")
def pool():
    made = Pool(1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """So that the child finds misbehaving.py."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


def test_bytes_and_facts_come_back(pool):
    assert pool.call(f"{HERE}:echo", b"abc", seconds=5, twice=True) == ({"length": 3}, b"abcabc")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("crash", "its decoder crashed, so the file is damaged"),
        ("leave", "its decoder crashed"),
        ("spin", "took more than the 1 s allowed"),
        ("hoard", "needs more memory than the 448 MiB allowed"),
        ("stumble", r"it is damaged \(KeyError\)"),
    ],
)
def test_what_goes_wrong_in_the_child_is_one_sentence(pool, what, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        pool.call(f"{HERE}:{what}", b"Mustermann", seconds=1)
    assert "Mustermann" not in str(caught.value)
    assert pool.call(f"{HERE}:echo", b"x", seconds=5, twice=False)[1] == b"x"


def test_a_child_that_sleeps_is_ended_by_the_clock(monkeypatch):
    monkeypatch.setattr("foveola.images.limited._GRACE", 0.5)
    made = Pool(1)
    start = time.monotonic()
    with pytest.raises(ImageError, match="took more than"):
        made.call(f"{HERE}:sleep", b"", seconds=0.5)
    assert time.monotonic() - start < 20
    made.close()


def test_what_a_decoder_prints_reaches_nobody(pool, capfd):
    assert pool.call(f"{HERE}:chatter", b"Mustermann", seconds=5)[1] == b"done"
    assert capfd.readouterr() == ("", "")


def test_a_child_stays_for_the_next_call_and_is_replaced_when_somebody_ends_it(pool):
    first = pool.call(f"{HERE}:process", b"", seconds=5)[0]["id"]
    assert pool.call(f"{HERE}:process", b"", seconds=5)[0]["id"] == first
    os.kill(first, signal.SIGKILL)
    time.sleep(0.2)
    assert pool.call(f"{HERE}:process", b"", seconds=5)[0]["id"] != first


def test_several_threads_get_their_own_answers():
    made, found = Pool(2), {}

    def ask(n):
        found[n] = made.call(f"{HERE}:echo", bytes([n]) * 100_000, seconds=5, twice=False)[1]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    assert found == {n: bytes([n]) * 100_000 for n in range(6)}


# --- DICOM that means harm ---


def outcome(data, limits):
    """The pixels or the sentence."""
    try:
        return decode(data, limits=limits), ""
    except ImageError as error:
        return None, str(error)


def test_a_deflated_bomb_is_refused():
    small = to_bytes(with_pixels(colours()), DeflatedExplicitVRLittleEndian)
    bomb = deflated(small, bytes(2**26))
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="unpacks to more than 32 MiB"):
        decode(bomb, limits=Limits(max_bytes=2**25))
    with pytest.raises(ImageError, match="deflated part is cut off"):
        decode(small[: len(small) // 2])


def test_a_sequence_of_a_million_empty_items_is_no_harm():
    made = to_bytes(with_pixels(colours(), ReferencedImageSequence=[]))
    at = made.find(b"\x08\0\x40\x11SQ")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000
    bomb = made[: at + 8] + len(items).to_bytes(4, "little") + items + made[at + 12 :]
    pixels, said = outcome(bomb, Limits(max_seconds=5))
    assert "allowed" in said or (pixels == colours()).all()


def test_sequences_within_sequences_end_in_a_sentence_or_a_picture():
    made = to_bytes(with_pixels(colours(), ReferencedImageSequence=[]))
    at = made.find(b"\x08\0\x40\x11SQ")
    open_ = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(ImageError):
        decode(made[:at] + open_ * 20_000)


def test_a_jpeg_2000_that_claims_another_size_is_refused():
    from openjpeg.utils import encode_array

    stream = encode_array(colours(600, 600), photometric_interpretation=1)
    lying = to_bytes(encapsulated(colours(), [stream]), JPEG2000Lossless)
    with pytest.raises(ImageError, match="another size than Rows"):
        decode(lying)


def files():
    pixels = colours(64, 64)
    import simplejpeg

    jpeg = simplejpeg.encode_jpeg(pixels)
    return {
        "plain": to_bytes(with_pixels(pixels)),
        "deflated": to_bytes(with_pixels(pixels), DeflatedExplicitVRLittleEndian),
        "JPEG": to_bytes(encapsulated(pixels, [jpeg], "YBR_FULL_422"), JPEGBaseline8Bit),
        "lossless": compressed(pixels, JPEGLosslessSV1),
        "JPEG-LS": compressed(pixels, JPEGLSLossless),
        "JPEG 2000": compressed(pixels, JPEG2000Lossless),
        "RLE": compressed(pixels, RLELossless),
    }


FILES = files()


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=20)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_one_sentence(kind, data):
    whole = FILES[kind]
    harm = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 12), label="flips")):
        at = data.draw(st.integers(132, len(harm) - 1), label="at")
        harm[at] = data.draw(st.integers(0, 255), label="byte")
    end = data.draw(st.sampled_from([None, 0.3, 0.6, 0.9, 0.99]), label="cut")
    harm = bytes(harm[: None if end is None else int(end * len(harm))])
    pixels, said = outcome(harm, Limits(max_pixels=2**22, max_seconds=5))
    assert pixels is None or pixels.shape[2] == 3
    assert "\n" not in said
    assert "Doe" not in said
