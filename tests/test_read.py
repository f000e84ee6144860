"""Both eyes read in one line, from paths or arrays, and shown as a person would want."""

import base64
import re
import sys

import pytest
from PIL import Image

import refused
from foveola import Encoder, decode, read
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import DEFAULT_READER, ReadingModel
from foveola.errors import ImageError, MissingExtraError
from foveola.reading import read_person


@pytest.fixture(scope="module")
def eyes(phantoms):
    """Both eyes of one person."""
    first, *rest = Manifest.read(phantoms).cases()
    fellow = next(c for c in rest if (c.identity, c.visit) == (first.identity, first.visit))
    return tuple(case.path for case in sorted((first, fellow), key=lambda case: case.eye))


@pytest.fixture(scope="module")
def reader(made_reader):
    return ReadingModel.load(made_reader)


def test_it_is_what_the_shipped_reader_says_of_a_person(eyes):
    reading = read(*eyes)
    expected = read_person(ReadingModel.load(), *eyes)
    assert reading.reader == DEFAULT_READER
    assert (reading.probabilities == expected.probabilities).all()
    assert reading.probabilities.shape == (len(reading.labels),)


def test_every_form_of_a_photograph_is_read(eyes, reader):
    from_paths = read(*eyes, model=reader).probabilities
    pixels = [decode(path) for path in eyes]
    images = [Image.fromarray(each) for each in pixels]
    for both in (pixels, images):
        # a JPEG is decoded at a reduced scale where that will do, and pixels are not
        assert read(*both, model=reader).probabilities == pytest.approx(from_paths, abs=0.05)


def test_a_model_is_named_or_given_by_its_folder(eyes, made_reader, reader):
    named = read(*eyes, model=str(made_reader))
    assert (named.probabilities == read(*eyes, model=reader).probabilities).all()


def test_one_eye_is_read_alone_and_none_is_told(eyes, reader):
    assert list(read(right=eyes[1], model=reader).eyes) == ["right"]
    with pytest.raises(ValueError, match="neither eye is given"):
        read(model=reader)


def test_one_picture_twice_and_what_shows_no_retina_are_refused(eyes, reader):
    with pytest.raises(ImageError, match="the same photograph, or two of the same eye"):
        read(eyes[0], eyes[0], model=reader)
    with pytest.raises(ImageError, match="does not look like a colour photograph of the retina"):
        read(refused.cat(), model=reader)


def test_it_is_shown_in_words_with_pictures_and_names_no_file(eyes, reader):
    reading = read(eyes[0], decode(eyes[1]), model=reader)
    lines = repr(reading).splitlines()
    assert lines[0].split() == ["finding", "probability", "threshold"]
    shown = [float(re.search(r"\d\.\d{3}", line)[0]) for line in lines[1:4]]
    assert shown == pytest.approx(sorted(reading.probabilities, reverse=True), abs=6e-4)
    assert "no diagnosis" in repr(reading)
    html = reading._repr_html_()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(pictures) >= 4  # each eye, and the evidence for a finding in each
    assert decode(base64.b64decode(pictures[0])).shape == (512, 512, 3)
    for path in eyes:
        assert path.rpartition("/")[2] not in html + repr(reading)


def test_pictures_that_are_gone_are_not_shown(eyes, reader, tmp_path):
    copy = tmp_path / "left.png"
    Image.open(eyes[0]).save(copy)
    reading = read(copy, model=reader)
    copy.unlink()
    assert "<img" not in reading._repr_html_()
    assert "only the left eye was given" in reading._repr_html_()


def test_it_becomes_a_frame(eyes, reader, monkeypatch):
    reading = read(*eyes, model=reader)
    frame = reading.to_frame()
    assert list(frame["label"]) == list(reading.labels)
    assert list(frame.loc[frame["found"], "label"]) == list(reading.found)
    assert frame["probability"].to_numpy() == pytest.approx(reading.probabilities)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="to_frame needs pandas"):
        reading.to_frame()


def test_an_encoder_is_no_reader(eyes):
    from foveola.errors import EncoderError

    with pytest.raises(EncoderError, match="is no reader"):
        read(*eyes, model=Encoder.load().name)
