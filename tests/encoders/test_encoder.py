"""The shipped encoder: checks before it runs, and promises while it does."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import AHEAD, Encoded, Encoder, Failed
from foveola.encoders.release import DEFAULT, RELEASED, add_parts, find, read_release
from foveola.errors import EncoderError
from foveola.files import read_json, write_json
from foveola.images.decode import decode
from foveola.images.gradability import gradability
from foveola.records import Case


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load()


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(find(DEFAULT), tmp_path / "encoder"))


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms).cases())


def test_descriptors_are_unit_and_depend_on_their_image_only(encoder):
    size = encoder.contract.size
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    together = encoder.encode(pixels)
    assert together.shape == (4, encoder.dimension)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-6)
    alone = np.stack([encoder.encode(pixels[i : i + 1])[0] for i in (3, 1, 2, 0)])[[3, 1, 2, 0]]
    assert (alone == together).all()  # bit for bit: a resumed archive equals an undisturbed one


def test_the_number_of_threads_does_not_change_a_bit(encoder, cases):
    single = Encoder.load(threads=1)
    for case in cases[:3]:
        one, many = single.encode_case(case), encoder.encode_case(case)
        assert (one.descriptor == many.descriptor).all()


def test_an_empty_batch_gives_no_descriptors(encoder):
    size = encoder.contract.size
    assert encoder.encode(np.empty((0, size, size, 3), np.uint8)).shape == (0, encoder.dimension)


@pytest.mark.parametrize("wrong", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 256, 256, 3))])
def test_images_of_another_form_are_refused(encoder, wrong):
    with pytest.raises(ValueError, match=r"expected \(B, .* uint8, got"):
        encoder.encode(wrong)


def test_many_files_come_back_in_order_with_the_bad_ones_among_them(encoder, cases, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 this is no JPEG")
    gone = Case(image="gone.jpg", path=str(tmp_path / "gone.jpg"))
    asked = [cases[0], Case(image="bad.jpg", path=str(bad)), cases[1], gone, *cases[2:20]]
    results = list(encoder.encode_cases(asked))
    assert [result.case for result in results] == asked
    assert [i for i, result in enumerate(results) if isinstance(result, Failed)] == [1, 3]
    for result in results:
        if isinstance(result, Encoded):
            assert (result.descriptor == encoder.encode_case(result.case).descriptor).all()


def test_files_are_encoded_as_they_are_asked_for_not_all_at_once(encoder, cases):
    taken = []

    def watched():
        for case in cases * 4:
            taken.append(case)
            yield case

    next(encoder.encode_cases(watched()))
    assert len(taken) <= AHEAD * encoder.threads + 2 < len(cases) * 4


def test_the_same_photograph_is_nearest_to_itself_brightened(encoder, cases):
    import cv2

    from foveola.images.decode import decode

    gallery = np.stack([encoder.encode_case(case).descriptor for case in cases])
    for i in (0, 9, 21):
        image = decode(Path(cases[i].path))
        brighter = cv2.convertScaleAbs(image, alpha=1.1, beta=0)
        similarity = gallery @ encoder.encode_photograph(brighter)
        assert similarity[i] > np.median(similarity)
        assert similarity[i] > 0.9


def test_a_damaged_weight_file_is_noticed_before_it_runs(copy):
    weights = copy / "model.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(EncoderError, match="not those it was released with; copy the folder"):
        Encoder.load(copy)


def test_a_changed_contract_is_noticed(copy):
    values = read_json(copy / "encoder.json")
    values["contract"]["mask"] = False
    write_json(copy / "encoder.json", values)
    with pytest.raises(EncoderError, match="not those it was released with"):
        Encoder.load(copy)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 7}, "has encoder format 7; this program reads 1"),
        ({"contract": {"algorithm": 3}}, "preprocessing algorithm 3; this program has"),
        ({"dimension": "many"}, "can't be used"),
    ],
)
def test_what_this_program_cannot_use_is_said(copy, change, sentence):
    values = read_json(copy / "encoder.json")
    write_json(copy / "encoder.json", {**values, **change})
    with pytest.raises(EncoderError, match=sentence):
        Encoder.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_broken_description_is_an_encoder_error(copy, text):
    (copy / "encoder.json").write_text(text)
    with pytest.raises(EncoderError, match=r"encoder\.json"):
        Encoder.load(copy)


def test_an_unknown_name_lists_what_is_shipped():
    with pytest.raises(EncoderError, match=f"nonsense is no encoder.*{DEFAULT}"):
        Encoder.load("nonsense")


def test_the_card_does_not_change_the_fingerprint(copy):
    before = read_release(copy).fingerprint
    values = read_json(copy / "encoder.json")
    values["card"]["notes"] = "something else"
    write_json(copy / "encoder.json", values)
    assert read_release(copy).fingerprint == before


def test_the_shipped_encoder_has_a_card_that_says_how_good_it_is():
    release = read_release(DEFAULT)
    card = (release.folder / "CARD.md").read_text()
    assert release.fingerprint in card
    assert "Research use" in card
    measured, by_value = release.card["tables"]
    assert "python benchmarks/relevance.py" in measured["caption"]
    assert measured["rows"][0][3:5] == ["by looks", "learned"]
    assert len(by_value["rows"]) > 10
    size = sum(path.stat().st_size for path in release.folder.iterdir())
    assert size < 12e6


# What makes the race certain: the thread that comes first sleeps inside numpy's own interface.
RACE = """
import sys, threading, time
import numpy.lib
from foveola.encoders.encoder import Encoder
import numpy as np
class Slow(numpy.lib.NumpyVersion):
    def __init__(self, text):
        time.sleep(0.5)
        super().__init__(text)
numpy.lib.NumpyVersion = Slow
encoder = Encoder.load(threads=2)
image = np.zeros((1, encoder.contract.size, encoder.contract.size, 3), np.uint8)
image[:, 50:150, 50:150] = 90
threads = [threading.Thread(target=encoder.encode, args=(image,)) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_two_threads_that_start_together_do_not_wait_for_each_other():
    done = subprocess.run([sys.executable, "-c", RACE], timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_gradability_is_that_of_the_decoded_photograph(encoder, cases):
    for case in cases[:4]:
        pixels = decode(Path(case.path), min_side=encoder.contract.min_side)
        assert encoder.encode_case(case).gradability == pytest.approx(gradability(pixels), abs=1e-3)


def test_cores_that_work_together_see_the_same(encoder, cases):
    both = Encoder.load(threads=2, together=2)
    pixels = decode(Path(cases[0].path), min_side=encoder.contract.min_side)
    assert (both.embed_with_quality(pixels).descriptor == encoder.embed_with_quality(pixels).descriptor).all()


def test_what_cannot_be_compiled_is_told_when_it_is_used(copy, monkeypatch):
    def fail(*_):
        raise EncoderError("can't be run")

    monkeypatch.setattr("foveola.encoders.encoder._compile", fail)
    broken = Encoder.load(copy)
    size = broken.contract.size
    for use in (broken.wait, lambda: broken.encode(np.zeros((1, size, size, 3), np.uint8))):
        with pytest.raises(EncoderError, match="can't be run"):
            use()


def test_many_threads_share_a_few_requests_and_get_their_own_descriptors(cases):
    from concurrent.futures import ThreadPoolExecutor

    from foveola.encoders.encoder import REQUESTS_PER_CORE

    few = Encoder.load(threads=1)
    pictures = [decode(Path(case.path), min_side=few.contract.min_side) for case in cases[:4]]
    alone = [few.embed_with_quality(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(few.embed_with_quality, pictures * 4))
    for i, each in enumerate(together):
        assert (each.descriptor == alone[i % 4].descriptor).all()
        assert (each.pooled == alone[i % 4].pooled).all()
    assert len(few._free) <= REQUESTS_PER_CORE


PARTS = {
    "fundus-similarity-3": ["familiarity.npz", "seen.npy"],
    "fundus-similarity-5": ["classifier.npz", "familiarity.npz", "seen.npy"],
    "fundus-matching-1": ["calibration.json", "laterality.json", "seen.npy"],
}


def test_shipped_encoders_list_all_that_lies_beside_them():
    own = {"CARD.md", "encoder.json", "model.xml", "model.bin"}
    for folder in RELEASED.iterdir():
        if (folder / "encoder.json").exists():
            assert sorted({path.name for path in folder.iterdir()} - own) == PARTS[folder.name]


@pytest.mark.parametrize(("name", "part"), [(n, part) for n, of in PARTS.items() for part in of])
def test_a_part_that_is_gone_is_told(name, part, tmp_path):
    folder = Path(shutil.copytree(find(name), tmp_path / "encoder"))
    (folder / part).unlink()
    with pytest.raises(EncoderError, match=f"{part} is missing, which belongs to encoder '{name}'"):
        read_release(folder)


def test_an_older_encoder_lists_no_parts_and_is_read_as_before(copy):
    values = read_json(copy / "encoder.json")
    del values["parts"]
    write_json(copy / "encoder.json", values)
    (copy / "seen.npy").unlink()
    assert read_release(copy).fingerprint == read_release(DEFAULT).fingerprint
    (copy / "mine.json").write_text("{}")
    add_parts(copy, "mine.json")
    assert read_release(copy).parts == ("mine.json",)
