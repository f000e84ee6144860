"""What an encoder sees at each place, upright whichever way the network looks at it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from foveola.encoders.parts import Local
from foveola.encoders.release import read_release
from foveola.errors import EncoderError


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (400, 420, 3), dtype=np.uint8)
    picture[80:320, 60:200] += np.array([150, 90, 40], np.uint8)
    return picture


@pytest.fixture(scope="module")
def release():
    return read_release("fundus-similarity-3")


def test_two_depths_each_of_unit_length(release, image):
    local = Local(release)
    maps = local.describe(image)
    assert (local.grid, local.channels) == (20, 256)
    assert maps.shape == (20, 20, 256)
    assert np.linalg.norm(maps[..., :96], axis=-1) == pytest.approx(np.ones((20, 20)), abs=1e-5)
    deep = maps[..., 96:]
    assert np.linalg.norm(deep, axis=-1) == pytest.approx(np.ones((20, 20)), abs=1e-5)
    assert (deep[::2, ::2] == deep[1::2, 1::2]).all()  # a deep position is four fine ones
    assert np.abs(deep[0, 0] - deep[0, 2]).max() > 1e-3


def test_a_left_eye_that_is_mirrored_for_the_network_is_upright_again(release, image):
    mirrored = Local(replace(release, contract=replace(release.contract, orient=True)))
    plain = Local(release)
    assert (mirrored.describe(image, "right") == plain.describe(image)).all()
    wanted = plain.describe(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    assert mirrored.describe(image, "left") == pytest.approx(wanted, abs=1e-4)


def test_a_network_built_in_another_way_is_refused(release, tmp_path):
    for file in ("model.xml", "model.bin"):
        shutil.copy(release.folder / file, tmp_path)
    text = (tmp_path / "model.xml").read_text(encoding="utf-8")
    (tmp_path / "model.xml").write_text(text.replace('type="Add"', 'type="Subtract"'))
    with pytest.raises(EncoderError, match="two scales"):
        Local(replace(release, folder=tmp_path))
