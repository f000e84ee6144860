"""What a researcher types: ten lines, run on phantoms as they stand."""

import subprocess
import sys

import numpy as np
import pytest

import foveola as fv
from foveola import Manifest
from foveola.errors import FoveolaError


@pytest.fixture(scope="module")
def cases(learnt):
    found = Manifest.read(learnt.parent / "known/manifest.csv").cases()
    return [case for case in found if case.grade is not None]


@pytest.fixture(scope="module")
def encoder():
    return fv.Encoder.load()


@pytest.fixture(scope="module")
def vectors(encoder, cases):
    return encoder.encode([case.path for case in cases])


@pytest.fixture(scope="module")
def grades(cases):
    return [case.grade for case in cases]


@pytest.fixture(scope="module")
def subjects(cases):
    return [case.subject for case in cases]


def test_1_an_encoder_makes_unit_vectors_of_paths_and_arrays(encoder, cases):
    array = fv.decode(cases[1].path)
    vectors = encoder.encode([cases[0].path, array])
    assert vectors.shape == (2, encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_2_leave_one_out_with_people_apart(vectors, grades, subjects):
    result = fv.evaluate(vectors, grades, groups=subjects)
    assert result["mAP@10"].macro > result["mAP@10"].chance.macro
    assert result.excluded_pairs == len(vectors)  # each has one fellow eye
    result.to_frame()
    result.plot()


def test_3_a_gallery_of_labels_of_any_type(vectors, grades):
    words = [f"grade {grade}" for grade in grades]
    result = fv.evaluate(vectors[:10], words[:10], gallery=vectors[10:], gallery_labels=words[10:])
    assert (result.queries, result.gallery) == (10, len(vectors) - 10)


def test_4_a_paired_difference_with_interval(vectors, grades, subjects):
    noise = np.random.default_rng(0).normal(size=(len(vectors), 8))
    a, b = (fv.evaluate(each, grades, groups=subjects) for each in (noise, vectors))
    gain = fv.compare(a, b)["mAP@10"]
    assert gain.macro == pytest.approx(b["mAP@10"].macro - a["mAP@10"].macro)
    assert gain.macro_interval[0] <= gain.macro <= gain.macro_interval[1]


def test_5_an_index_learns_and_is_asked(vectors, grades, subjects):
    index = fv.Index(vectors, labels=grades, groups=subjects)
    index.learn()
    hits = index.search(vectors[0], k=5)
    assert len(hits) == 5
    assert hits.order == "learned"
    assert [len(each) for each in index.search(vectors[:3], k=5)] == [5] * 3


def test_6_an_archive_is_searched_under_a_condition(learnt, new_photographs):
    archive = fv.Archive.open(str(learnt))
    with archive:
        hits = archive.search(str(new_photographs[0]), k=5, where="grade >= 2")
        assert len(archive) == len(archive.vectors()) == len(archive.cases()) == 80
        assert repr(archive) == f"Archive of 80 cases by the encoder {archive.encoder.name}"
        assert archive.info().cases == 80
    assert len(hits) == 5
    assert all(hit.case.grade >= 2 for hit in hits)
    assert list(hits.to_frame()["id"]) == [hit.id for hit in hits]


def test_7_a_loss():
    torch = pytest.importorskip("torch")
    z, y = torch.randn(8, 4), torch.arange(8) // 2
    assert fv.losses.AdaTripletLoss(margin=0.25)(z, y).ndim == 0


def test_8_an_attention():
    torch = pytest.importorskip("torch")
    feature_map = torch.randn(2, 256, 4, 4)
    assert fv.models.MirrorAttention(256)(feature_map).shape == feature_map.shape


def test_9_both_eyes_are_read(cases):
    left, right = (case.path for case in sorted(cases[:2], key=lambda case: case.eye))
    assert (((p := fv.read(left, right).probabilities) >= 0) & (p <= 1)).all()


def test_10_two_photographs_are_matched(cases):
    assert 0 <= fv.match(cases[0].path, fv.decode(cases[2].path)).probability <= 1


# Without torch

ASK = """
import sys
sys.modules["torch"] = None
import foveola
try:
    {line}
except foveola.FoveolaError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", ["losses", "models"])
@pytest.mark.parametrize("line", ["foveola.{}", "from foveola import {}"])
def test_what_needs_torch_asks_for_it_in_one_sentence(name, line):
    program = ASK.format(line=line.format(name))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == (
        f"MissingExtraError foveola.{name} needs torch, which is not installed. Run: pip install 'foveola[train]'\n"
    ), done.stderr


def test_names_that_can_be_typed_are_listed():
    assert {*fv.__all__, "losses", "models"} == set(dir(fv))
    assert 20 <= len(fv.__all__) <= 30
    with pytest.raises(AttributeError, match="has no attribute 'loses'"):
        _ = fv.loses
    assert issubclass(fv.FoveolaError, Exception)
    assert fv.FoveolaError is FoveolaError
