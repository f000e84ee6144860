"""A released encoder taken apart gives the descriptors of the whole."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from foveola.encoders.encoder import Encoder
from foveola.encoders.parts import Parts, Pooling
from foveola.encoders.release import read_release
from foveola.errors import EncoderError
from foveola.explain import removal_map


@pytest.fixture(scope="module", params=["fundus-similarity-3", "fundus-matching-1"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def parts(name):
    return Parts(read_release(name))


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (400, 420, 3), dtype=np.uint8)
    picture[80:320, 90:330] += np.array([150, 90, 40], np.uint8)
    return picture


def test_both_parts_together_are_the_whole(name, parts, image):
    maps = parts.features(image)
    pooled = parts.pooling.root(parts.pooling.powers(maps).mean(axis=(1, 2)))
    whole = Encoder.load(name).embed_with_quality(image)
    assert parts.descriptors(pooled[None])[0] == pytest.approx(whole.descriptor, abs=2e-5)
    assert maps.mean(axis=(1, 2)) == pytest.approx(whole.pooled, abs=1e-4)


def test_a_map_loses_what_a_loop_over_squares_finds(name, parts, image):
    maps = parts.features(image)
    other = Encoder.load(name).encode_photograph(image[:, ::-1])
    found = removal_map(maps, other, parts)
    h, w = maps.shape[1:]

    def cosine(kept):
        x = np.maximum(maps[:, kept], parts.pooling.eps).astype(np.float64)
        pooled = (x**parts.pooling.p).mean(axis=1) ** (1 / parts.pooling.p)
        return float(parts.descriptors(pooled[None].astype(np.float32))[0] @ other)

    whole = cosine(np.ones((h, w), bool))
    wanted = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            kept = np.ones((h, w), bool)
            kept[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = False
            wanted[~kept] += (whole - cosine(kept)) / (~kept).sum()
    assert found.contributions == pytest.approx(wanted, abs=1e-5)
    assert found.cosine == pytest.approx(whole, abs=1e-6)


def test_pooling_by_hand():
    maps = np.array([[[1.0, 2.0], [-1.0, 0.0]]], np.float32)
    pooling = Pooling(3.0, 0.5)
    assert pooling.powers(maps).ravel() == pytest.approx([1, 8, 0.125, 0.125])
    assert pooling.root(np.array([8.0])) == pytest.approx(2)


@pytest.mark.parametrize("shape", [(4, 3, 9), (4, 9), (4, 9, 3)])
def test_a_map_too_small_for_the_square_is_refused(parts, shape):
    with pytest.raises(ValueError, match="expected maps"):
        removal_map(np.ones(shape), np.ones(3), parts)


def test_a_network_built_in_another_way_is_refused(tmp_path):
    whole = read_release("fundus-similarity-3")
    for file in ("model.xml", "model.bin"):
        shutil.copy(whole.folder / file, tmp_path)
    text = (tmp_path / "model.xml").read_text(encoding="utf-8")
    (tmp_path / "model.xml").write_text(text.replace('"ReduceMean"', '"ReduceMax"'))
    with pytest.raises(EncoderError, match="can't be taken apart"):
        Parts(replace(whole, folder=tmp_path))
