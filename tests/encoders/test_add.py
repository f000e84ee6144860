"""A network from elsewhere becomes an encoder that gives what the network gives."""

import pickle
import re
import zipfile
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

import made_networks as made
from foveola.encoders.add import Wanted, add_onnx, trial_images
from foveola.encoders.encoder import Encoder
from foveola.encoders.parts import Local, Parts
from foveola.encoders.release import read_release
from foveola.errors import EncoderError
from foveola.explain import occlusion_map, removal_map

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZE = Wanted(size=64)


def given_by(path, output, size=64, mean=MEAN, std=STD, last=False):
    """What the file itself gives for the trial images, normalised here by hand."""
    network = ov.Core().compile_model(str(path), "CPU")
    rows = []
    for pixels in trial_images(size):
        image = ((pixels / 255 - mean) / std).astype(np.float32)
        image = image if last else image.transpose(2, 0, 1)
        rows.append(np.array(network({0: image[None]})[output][0]))
    return np.stack(rows)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def encoded(release):
    return Encoder(release, threads=1).encode(trial_images(release.contract.size))


def agree(found, expected):
    assert found.shape == expected.shape
    assert (found * unit(expected)).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize(
    ("shape", "last"), [(("b", 3, "h", "w"), False), ((1, 3, 64, 64), False), (("b", "h", "w", 3), True)]
)
def test_images_are_normalised_and_laid_out_as_the_file_takes_them(tmp_path, shape, last):
    path = made.network(tmp_path / "n.onnx", shape=shape)
    release = add_onnx(path, tmp_path / "e", SIZE)
    agree(encoded(release), given_by(path, "vector", last=last))


def test_mean_and_std_of_ones_own_are_used(tmp_path):
    path = made.network(tmp_path / "n.onnx")
    own = replace(SIZE, mean=(0.5, 0.4, 0.1), std=(0.5, 0.25, 1))
    release = add_onnx(path, tmp_path / "e", own)
    expected = given_by(path, "vector", mean=np.array(own.mean), std=np.array(own.std))
    agree(encoded(release), expected)
    assert (unit(expected) * unit(given_by(path, "vector"))).sum(axis=1).min() < 0.999


def test_eight_bit_pixels_are_given_as_they_are(tmp_path):
    path = made.network(tmp_path / "n.onnx", shape=("b", "h", "w", 3), kind=made.BYTE)
    release = add_onnx(path, tmp_path / "e", SIZE)
    network = ov.Core().compile_model(str(path), "CPU")
    rows = [np.array(network({0: one[None]})["vector"][0]) for one in trial_images(64)]
    agree(encoded(release), np.stack(rows))
    with pytest.raises(EncoderError, match="takes 8 bit pixels, which no mean and std"):
        add_onnx(path, tmp_path / "f", replace(SIZE, mean=(0.5,) * 3))


def test_the_size_is_the_files_own_where_it_fixes_one(tmp_path):
    path = made.network(tmp_path / "n.onnx", shape=(1, 3, 96, 96))
    assert add_onnx(path, tmp_path / "e").contract.size == 96


def test_a_map_is_averaged_and_can_be_taken_apart(tmp_path):
    path = made.network(tmp_path / "n.onnx", made.MAP)
    release = add_onnx(path, tmp_path / "e", SIZE)
    maps = given_by(path, "last")
    agree(encoded(release), maps.mean(axis=(2, 3)))
    parts = Parts(release)
    agree(parts.descriptors(maps.mean(axis=(2, 3))), maps.mean(axis=(2, 3)))
    image = trial_images(64)[0]
    found = removal_map(parts.features(image), encoded(release)[1], parts)
    assert found.contributions.shape == (8, 8)


def test_tokens_become_the_first_or_the_mean_of_the_patches(tmp_path):
    path = made.network(tmp_path / "n.onnx", made.TOKENS, shape=(1, 3, 64, 64))
    with pytest.raises(EncoderError, match=r"tokens is tokens \(1, 65, 16\); .*--pooling cls"):
        add_onnx(path, tmp_path / "e")
    tokens = given_by(path, "tokens")
    release = add_onnx(path, tmp_path / "mean", Wanted(pooling="mean"))
    agree(encoded(release), tokens[:, 1:].mean(axis=1))
    assert Parts(release).features(trial_images(64)[0]).shape == (16, 8, 8)
    # The class token of this network does not look at the photograph, which is told.
    with pytest.raises(EncoderError, match="the same descriptor whatever it is shown"):
        add_onnx(path, tmp_path / "cls", Wanted(pooling="cls"))


def test_one_of_several_outputs_is_named(tmp_path):
    path = made.network(tmp_path / "n.onnx", made.BOTH)
    with pytest.raises(EncoderError, match=r"several outputs; .*vector \(1, 16\), last \(1, 16,"):
        add_onnx(path, tmp_path / "e", SIZE)
    with pytest.raises(EncoderError, match="no output 'cls'; choose one with --output: vector"):
        add_onnx(path, tmp_path / "e", replace(SIZE, output="cls"))
    release = add_onnx(path, tmp_path / "e", replace(SIZE, output="vector"))
    agree(encoded(release), given_by(path, "vector"))


def test_what_needs_a_map_says_so_and_covering_up_works_without(tmp_path):
    release = add_onnx(made.network(tmp_path / "n.onnx"), tmp_path / "e", SIZE)
    with pytest.raises(EncoderError, match="can't be taken apart: LookupError; similarity maps"):
        Parts(release)
    with pytest.raises(EncoderError, match="can't describe the places of a photograph"):
        Local(release)
    encoder = Encoder(release, threads=1)
    image, other = trial_images(64)[:2]
    seen = encoder.embed_with_quality(image)
    assert seen.pooled.shape == (16,)
    assert 0 <= seen.gradability <= 1
    found = occlusion_map(image, encoder.encode(other[None])[0], encoder.encode, cells=4)
    assert found.contributions.shape == (4, 4)


def test_the_card_keeps_the_checksum_and_not_the_files_name(tmp_path):
    path = made.network(tmp_path / "Anna_Smith.onnx")
    release = add_onnx(path, tmp_path / "e", replace(SIZE, licence="CC-BY-4.0"))
    card = (tmp_path / "e" / "CARD.md").read_text()
    assert "Brought in by `foveola encoder add`; nothing is known of what it was trained on" in card
    assert "CC-BY-4.0" in card
    assert f"{path.stat().st_size} bytes" in card
    for file in (tmp_path / "e").iterdir():
        assert b"Smith" not in file.read_bytes()
    assert read_release(tmp_path / "e").fingerprint == release.fingerprint
    again = add_onnx(path, tmp_path / "f", replace(SIZE, name="other"))
    assert again.fingerprint == release.fingerprint  # of the same network under the same contract
    masked = add_onnx(path, tmp_path / "g", replace(SIZE, mask=False))
    assert masked.fingerprint != release.fingerprint


def test_weights_kept_beside_the_file_are_found(tmp_path):
    import onnx

    whole = onnx.load(made.network(tmp_path / "n.onnx"))
    (tmp_path / "split").mkdir()
    onnx.save(whole, tmp_path / "split" / "n.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    one = add_onnx(tmp_path / "n.onnx", tmp_path / "e", SIZE)
    two = add_onnx(tmp_path / "split" / "n.onnx", tmp_path / "f", SIZE)
    assert (encoded(one) == encoded(two)).all()


def bad(tmp_path):
    """Every kind of file that can't be used, how it is asked for, and what is said."""
    path = tmp_path / "n.onnx"
    whole = made.network(path).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "name.onnx").write_bytes(whole.replace(b"c1", b"c\xff", 1))
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("this is no network")
    (tmp_path / "pickle.onnx").write_bytes(pickle.dumps({"weights": [1.0]}))
    with zipfile.ZipFile(tmp_path / "torch.onnx", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([1]))
    (tmp_path / "there").mkdir()
    grey = made.network(tmp_path / "grey.onnx", shape=("b", 1, "h", "w"))
    fixed = made.network(tmp_path / "fixed.onnx", shape=("b", 3, 96, 96))
    oblong = made.network(tmp_path / "oblong.onnx", shape=("b", 3, 96, 64))
    one = made.network(tmp_path / "one.onnx", made.ONE)
    nan = made.network(tmp_path / "nan.onnx", made.NAN)
    zero = made.network(tmp_path / "zero.onnx", made.ZERO)
    same = made.network(tmp_path / "same.onnx", made.SAME)
    odd = made.network(tmp_path / "odd.onnx", domain="com.example")
    return [
        *[
            (tmp_path / f"{name}.onnx", {}, "is no ONNX file")
            for name in ("cut", "name", "empty", "text", "pickle", "torch")
        ],
        (tmp_path / "gone.onnx", {}, "can't be read: No such file"),
        (tmp_path, {}, "can't be read: Is a directory"),
        (made.two_inputs(tmp_path / "two.onnx"), {}, "these inputs: left, right"),
        (grey, {}, r"takes \(\?, 1, \?, \?\); expected 3 channels"),
        (oblong, {}, "expected square images"),
        (fixed, {}, "takes images of 96 pixels; expected 64"),
        (path, {"size": None}, "say which with --size"),
        (path, {"size": 16}, "size is 16; expected 32 to 4096"),
        (path, {"size": 5000}, "size is 5000; expected 32 to 4096"),
        (path, {"std": (1, 0, 1)}, "those of std above 0"),
        (path, {"mean": (np.nan, 0, 0)}, "finite"),
        (path, {"name": "../x"}, "is no name for an encoder"),
        (path, {"name": "fundus-similarity-3"}, "is the name of a shipped encoder"),
        (one, {}, "output grade gives 1 numbers; expected 2 to 8192"),
        (nan, {}, "zeros, or what is no number"),
        (zero, {}, "zeros, or what is no number"),
        (same, {}, "the same descriptor whatever"),
        (odd, {}, "Special"),
    ]


def test_what_cannot_be_used_is_told_in_a_sentence_and_leaves_nothing(tmp_path):
    cases = bad(tmp_path)
    before = sorted(tmp_path.iterdir())
    for path, changes, sentence in cases:
        with pytest.raises(EncoderError, match=sentence) as told:
            add_onnx(path, tmp_path / "e", replace(SIZE, **changes))
        assert "\n" not in str(told.value)
        assert sorted(tmp_path.iterdir()) == before, sentence
    with pytest.raises(EncoderError, match=re.escape(f"{tmp_path / 'there'} exists already")):
        add_onnx(tmp_path / "n.onnx", tmp_path / "there", SIZE)
    assert sorted(tmp_path.iterdir()) == before
    assert list((tmp_path / "there").iterdir()) == []


def test_a_network_killed_while_it_is_written_leaves_nothing(tmp_path, monkeypatch):
    path = made.network(tmp_path / "n.onnx")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("foveola.encoders.add.render_card", fail)
    with pytest.raises(KeyboardInterrupt):
        add_onnx(path, tmp_path / "e", SIZE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_photograph_of_which_a_network_says_nothing_fails_alone(tmp_path):
    path = made.network(tmp_path / "n.onnx", kind=made.BYTE)  # without biases: black gives zeros
    encoder = Encoder(add_onnx(path, tmp_path / "e", SIZE), threads=1)
    with pytest.raises(EncoderError, match="gives zeros, or what is no number, for this"):
        encoder.encode(np.zeros((1, 64, 64, 3), np.uint8))


def test_weights_that_half_precision_would_change_stay_single(tmp_path):
    import onnx

    model = onnx.load(made.network(tmp_path / "n.onnx"))
    for kept in model.graph.initializer:
        if kept.name == "w0":  # below what half precision can hold
            small = onnx.numpy_helper.to_array(kept) * np.float32(1e-9)
            kept.CopyFrom(onnx.numpy_helper.from_array(small, "w0"))
    onnx.save(model, tmp_path / "small.onnx")
    release = add_onnx(tmp_path / "small.onnx", tmp_path / "e", SIZE)
    agree(encoded(release), given_by(tmp_path / "small.onnx", "vector"))
