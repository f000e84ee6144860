"""Photographs in any form become unit vectors, the same that an archive keeps."""

import gc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from foveola import Encoder, decode
from foveola.datasets.manifest import Manifest
from foveola.encoders.add import add_onnx
from foveola.errors import EncoderError, ImageError
from foveola.images.fundus import prepare
from made_networks import network


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load()


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms).cases())[:4]


@pytest.fixture(scope="module")
def png(cases, tmp_path_factory):
    """A photograph without loss, so that its pixels are the same in every form."""
    path = tmp_path_factory.mktemp("png") / "photograph.png"
    cv2.imwrite(str(path), decode(cases[0].path)[..., ::-1])
    return path


def test_a_list_of_paths_gives_what_an_archive_keeps(encoder, cases):
    vectors = encoder.encode([case.path for case in cases])
    kept = np.stack([encoder.encode_case(case).descriptor for case in cases])
    assert vectors.dtype == np.float32
    assert (vectors == kept).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


FORMS = {
    "text": str,
    "Path": Path,
    "bytes": Path.read_bytes,
    "pixels": decode,
    "PIL, opened": Image.open,
    "PIL, made": lambda path: Image.fromarray(decode(path)),
    "PIL, with alpha": lambda path: Image.fromarray(decode(path)).convert("RGBA"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_photograph_has_the_same_vector(encoder, png, form):
    one = encoder.encode(FORMS[form](png))
    assert one.shape == (encoder.dimension,)
    assert (one == encoder.encode([png])[0]).all()


def test_one_photograph_gives_one_vector_and_a_list_of_one_a_row(encoder, png):
    assert encoder.encode(png).shape == (encoder.dimension,)
    assert encoder.encode([png]).shape == (1, encoder.dimension)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_lists_of_every_kind_are_lists(encoder, png):
    expected = encoder.encode([png, png])
    for several in ((png, png), np.array([str(png)] * 2), (p for p in (png, png))):
        assert (encoder.encode(several) == expected).all()


def test_an_array_of_squares_goes_to_the_network_as_it_is(encoder, cases):
    squares = np.stack(
        [prepare(decode(case.path, min_side=encoder.contract.min_side), encoder.contract) for case in cases]
    )
    assert (encoder.encode(squares) == encoder.encode([case.path for case in cases])).all()


def test_a_picture_that_pillow_has_not_turned_is_turned(encoder, png, tmp_path):
    with Image.open(png) as image:
        turned = image.transpose(Image.Transpose.ROTATE_270)
        exif = Image.Exif()
        exif[274] = 8  # to be turned back by 90 degrees
        turned.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert (encoder.encode(image) == encoder.encode(png)).all()


def test_what_is_no_photograph_is_told_with_its_place(encoder, png, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 this is no JPEG")
    with pytest.raises(ImageError, match=r"^photographs\[1\]: bad\.jpg: "):
        encoder.encode([png, bad])
    with pytest.raises(ImageError, match=r"^photographs\[0\]: gone\.jpg: there is no such file"):
        encoder.encode([tmp_path / "gone.jpg", png])
    with pytest.raises(ValueError, match=r"^photographs\[1\]: .* type int; expected the path"):
        encoder.encode([png, 7])
    with pytest.raises(ValueError, match=r"array \(80, 80\) uint8; expected \(H, W, 3\) uint8"):
        encoder.encode(np.zeros((80, 80), np.uint8))
    with pytest.raises(ImageError, match=r"unusual kind \(I;16\); export as 8-bit"):
        encoder.encode(Image.fromarray(np.zeros((80, 80), np.uint16)))
    with pytest.raises(ImageError, match=r"^the array: .* 10 x 10 pixels; expected at least 64"):
        encoder.encode(np.zeros((10, 10, 3), np.uint8))


def test_a_picture_that_pillow_can_not_load_is_told(encoder, png, tmp_path):
    (tmp_path / "cut.png").write_bytes(png.read_bytes()[:5000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(ImageError, match="be loaded"):
        encoder.encode(image)


def test_left_eyes_are_mirrored_where_the_encoder_asks_for_it(png, tmp_path):
    from foveola.encoders.add import Wanted

    file = network(tmp_path / "a.onnx", shape=("b", 3, 64, 64))
    encoder = Encoder(add_onnx(file, tmp_path / "e", Wanted(orient=True, name="turns")))
    right, left = encoder.encode([png, png], eyes=["right", "left"])
    assert not (right == left).all()
    assert (left == encoder.encode_photograph(decode(png), "left")).all()
    assert (encoder.encode(png, eyes=["left"]) == left).all()
    with pytest.raises(ValueError, match="expected 2 eyes, got 1"):
        encoder.encode([png, png], eyes=["left"])
    with pytest.raises(ValueError, match="expected one eye for one photograph, got 2"):
        encoder.encode(png, eyes=["left", "right"])


def test_an_onnx_file_is_an_encoder_whose_folder_goes_with_it(png, tmp_path):
    file = network(tmp_path / "a.onnx", shape=("b", 3, 64, 64))
    encoder = Encoder.load(str(file))
    added = Encoder(add_onnx(file, tmp_path / "added"))
    assert encoder.fingerprint == added.fingerprint
    assert (encoder.encode(png) == added.encode(png)).all()
    home = encoder.release.folder.parent
    assert home.is_dir()
    del encoder
    gc.collect()
    assert not home.exists()


def test_what_is_no_onnx_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="is no ONNX file"):
        Encoder.load(tmp_path / "bad.onnx")
    with pytest.raises(EncoderError, match="can't be read: No such file"):
        Encoder.load(tmp_path / "gone.onnx")
    assert list((tmp_path / "temporary").iterdir()) == []
