"""An encoder of ours as ONNX: the same descriptors, there and back again."""

import numpy as np
import onnx
import pytest

import made_networks as made
from foveola.encoders.add import Wanted, add_onnx, trial_images
from foveola.encoders.encoder import Encoder
from foveola.encoders.onnx_file import export_onnx
from foveola.encoders.parts import Local, Parts
from foveola.encoders.release import DEFAULT, read_release
from foveola.errors import EncoderError


@pytest.fixture(scope="module", params=[DEFAULT, "fundus-matching-1"])
def there_and_back(request, tmp_path_factory):
    """The release, the file, and the encoder made of the file."""
    folder = tmp_path_factory.mktemp("onnx")
    release = read_release(request.param)
    assert export_onnx(release, folder / "ours.onnx") > 0.9999
    return release, folder / "ours.onnx", add_onnx(folder / "ours.onnx", folder / "back")


def test_the_file_gives_the_same_descriptors_in_an_encoder_of_its_own(there_and_back):
    release, _, back = there_and_back
    assert back.contract == release.contract
    assert back.dimension == release.dimension
    assert back.card["licence"] == release.card["licence"]
    assert back.card["origin"]["exported"]["fingerprint"] == release.fingerprint
    images = trial_images(release.contract.size, 4)
    both = [Encoder(one, threads=1).encode(images) for one in (release, back)]
    assert (both[0] * both[1]).sum(axis=1).min() > 0.9999
    assert (both[0] @ both[0].T).min() < 0.999  # as those of different images are not


def test_the_file_is_sound_and_takes_any_number_of_images(there_and_back):
    release, path, _ = there_and_back
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (pixels,) = model.graph.input
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert pixels.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [one.name for one in model.graph.output] == ["descriptor", "features"]
    size = release.contract.size
    assert [side.dim_value for side in pixels.type.tensor_type.shape.dim[1:]] == [size, size, 3]


def test_what_came_back_shows_places_and_parts_as_before(there_and_back):
    release, _, back = there_and_back
    image = trial_images(release.contract.size, 1)[0]
    maps = [Parts(one).features(image) for one in (release, back)]
    assert np.allclose(*maps, atol=1e-3)
    places = [Local(one).describe(image) for one in (release, back)]
    assert (places[0] * places[1]).sum(axis=2).min() > 1.999  # of two depths


@pytest.mark.parametrize(
    "said", [{"attention": "mirror"}, {"attention": "se"}, {"backbone": "resnet18"}, {"attention": "self"}]
)
def test_networks_of_other_recipes_are_written_or_refused(tmp_path, said):
    torch = pytest.importorskip("torch")
    from foveola.images.fundus import Contract
    from foveola.models.descriptor import DescriptorModel
    from foveola.training.config import DataConfig, TrainConfig
    from foveola.training.export import export_encoder

    torch.manual_seed(0)
    model = DescriptorModel(said.get("backbone", "mobilenetv2_100"), 32, attention=said.get("attention", "none")).eval()
    config = TrainConfig(name="made", data=DataConfig(manifests=("none.csv",)))
    folder = export_encoder(model, tmp_path / "e", config=config, contract=Contract(size=64), counts={})
    if said == {"attention": "self"}:
        with pytest.raises(EncoderError, match=r"made can't be .*: its ScaledDotProductAttention is"):
            export_onnx(read_release(folder), tmp_path / "x.onnx")
        assert not (tmp_path / "x.onnx").exists()
    else:
        assert export_onnx(read_release(folder), tmp_path / "x.onnx") > 0.9999


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / "x.onnx").write_text("mine")
    with pytest.raises(EncoderError, match="exists already"):
        export_onnx(read_release(DEFAULT), tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_text() == "mine"


def test_a_file_that_gives_other_descriptors_is_not_kept(tmp_path, monkeypatch):
    release = add_onnx(made.network(tmp_path / "n.onnx", made.MAP), tmp_path / "e", Wanted(size=64))
    from foveola.encoders import onnx_file

    wrong = dict(onnx_file._SAME, Tanh="Sin")
    monkeypatch.setattr(onnx_file, "_SAME", wrong)
    with pytest.raises(EncoderError, match=r"gives other descriptors than .*nothing was written"):
        export_onnx(release, tmp_path / "x.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "n.onnx"]
    monkeypatch.undo()
    assert export_onnx(release, tmp_path / "x.onnx") > 0.9999


def test_a_contract_of_another_algorithm_in_a_file_is_refused(tmp_path, there_and_back):
    _, path, _ = there_and_back
    model = onnx.load(path)
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"algorithm": 2', '"algorithm": 1')
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(EncoderError, match="preprocessing algorithm 1; this program has"):
        add_onnx(tmp_path / "old.onnx", tmp_path / "e")
