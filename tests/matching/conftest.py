"""An archive of phantoms in which matching is allowed, as a user would make it.

The shipped similarity encoder stands in for a matching encoder, with a calibration of its own: what
is tested is what is done with evidence, not how good it is.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import DEFAULT, find
from foveola.images.decode import decode
from foveola.indexing import add_missing
from foveola.laterality import LATERALITY, fit_laterality, four_views
from foveola.matching import gallery, permission
from foveola.matching.calibrate import calibrate
from foveola.matching.pair import CALIBRATION
from foveola.phantom import generate


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """12 people, both eyes, two visits."""
    folder = tmp_path_factory.mktemp("matching") / "phantoms"
    generate(folder, subjects=12, visits=2, seed=11, size=384, masks=False)
    return folder


@pytest.fixture(scope="session")
def stand_in(phantoms):
    """A matching encoder: the similarity encoder, calibrated on other phantoms."""
    others = phantoms.parent / "others"
    generate(others, subjects=10, visits=2, seed=12, size=384, masks=False)
    folder = phantoms.parent / "stand-in"
    shutil.copytree(find(DEFAULT), folder)
    encoder = Encoder.load(folder)
    cases = list(Manifest.read(others / "manifest.csv", collection="others").cases())
    calibrate(encoder, cases, hard=10, impostors=300).save(folder / CALIBRATION)
    views = [four_views(encoder, decode(Path(case.path))) for case in cases]
    rule = fit_laterality(np.stack(views), [case.eye for case in cases], encoder.fingerprint)
    rule.save(folder / LATERALITY)
    return folder


@pytest.fixture(scope="session")
def made_archive(phantoms, stand_in, tmp_path_factory):
    """The first visits and, of every other eye, the second; matching is on."""
    cases = list(Manifest.read(phantoms / "manifest.csv", collection="p").cases())
    kept = [c for n, c in enumerate(cases) if c.visit == 0 or n % 4 == 1]
    folder = tmp_path_factory.mktemp("made") / "archive"
    add_missing(folder, kept)
    allowed = permission.switch_on(folder, "tests", str(stand_in))
    assert gallery.update(folder, allowed) == ()
    return folder


@pytest.fixture
def archive(made_archive, tmp_path):
    """A copy of it, for a test to change."""
    return shutil.copytree(made_archive, tmp_path / "archive")


@pytest.fixture(scope="session")
def write_jpeg():
    """A function that writes RGB pixels as a JPEG file."""

    def write(path, image, quality=92):
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return path

    return write
