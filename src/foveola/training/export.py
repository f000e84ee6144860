"""From a trained network to a released encoder or reader: OpenVINO IR, parity check, card."""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from foveola.encoders.card import render_card, render_reader_card
from foveola.encoders.encoder import Encoder
from foveola.encoders.reading_model import ReaderRelease, ReadingModel, write_reader
from foveola.encoders.release import Release, add_parts, write_release
from foveola.errors import EncoderError
from foveola.images.fundus import Contract
from foveola.metrics.multilabel import evaluate_reading
from foveola.models.binocular import Answer, BinocularModel
from foveola.models.descriptor import DescriptorModel, normalise
from foveola.resources import beside
from foveola.training.config import ReadingConfig, TrainConfig
from foveola.training.prepared import contract_of
from foveola.training.reading import ReaderRun, Readings
from foveola.trust import SEEN, Seen

PARITY = 0.9999  # the least cosine between torch's descriptor and the released encoder's
READER_PARITY = 0.005  # the most by which a probability of the released reader may differ from torch's
READER_OUTPUTS = ("probabilities", "eyes", "feature", "evidence")

R = TypeVar("R", Release, ReaderRelease)


class Released(nn.Module):
    """The trained model with the contract's normalisation inside: prepared pixels in."""

    def __init__(self, model: DescriptorModel, contract: Contract) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(contract.mean))
        self.register_buffer("std", torch.tensor(contract.std))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, S, 3) uint8 -> descriptors (B, D) and feature map (B, C, h, w)."""
        described = self.model(normalise(pixels, self.get_buffer("mean"), self.get_buffer("std")))
        return described.descriptor, described.features


def export_encoder(
    model: DescriptorModel,
    folder: Path,
    *,
    config: TrainConfig,
    contract: Contract,
    counts: Mapping[str, int],
    data: Sequence[Mapping[str, Any]] = (),
    seen: Seen | None = None,
) -> Path:
    """Write a released encoder and check that it computes what the model does.

    Weights are kept in half precision on disk, in single precision where that changes the
    descriptors (a network hardly trained can be that touchy); float32 is computed with.

    Args:
        model: trained.
        folder: of the encoder; replaced if it is there.
        config: of the run.
        contract: what was done to the photographs.
        counts: images trained on, by collection.
        data: what each part of each data set holds, for the card.
        seen: the photographs trained on, so that an archive of them knows; None not to say it.

    Returns:
        folder.

    Raises:
        EncoderError: the released encoder's descriptors differ from the model's.
    """
    with beside(folder) as partial:
        partial.mkdir(parents=True)
        released = Released(model, contract).eval().cpu()
        example = torch.zeros(1, contract.size, contract.size, 3, dtype=torch.uint8)
        ir = _converted(released, example, [-1, *example.shape[1:]], ("descriptor", "features"))
        card: dict[str, Any] = {
            "training": {"images": dict(counts), "seed": config.seed, "epochs": config.epochs},
            "data": list(data),
            "backbone": config.model.backbone,
            "notes": config.notes,
            "licence": config.licence,
        }
        if config.data.label in ("subject", "eye"):
            card["task"] = "matching"
        if model.labels is not None:
            card["labels"] = {"names": list(model.labels.names), "share": model.labels.share}

        def written() -> Release:
            made = write_release(partial, name=config.name, dimension=model.dimension, contract=contract, card=card)
            check_parity(released, Encoder(made))
            return made

        release = _smallest(ir, partial, written)
        (partial / "CARD.md").write_text(render_card(release), encoding="utf-8")
        if seen is not None:
            seen.save(partial)
            add_parts(partial, SEEN)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def _converted(network: nn.Module, example: Any, shapes: Sequence[Any], outputs: Sequence[str]) -> ov.Model:
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces by a torch function that warns of its own future
        warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
        ir = ov.convert_model(network, example_input=example, input=shapes)
    for output, name in zip(ir.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    return ir


def _smallest(ir: ov.Model, folder: Path, written: Callable[[], R]) -> R:
    """Save in half precision, or in single where `written`, which checks it, says that half spoils it."""
    ov.save_model(ir, folder / "model.xml", compress_to_fp16=True)
    try:
        return written()
    except EncoderError:
        ov.save_model(ir, folder / "model.xml", compress_to_fp16=False)
        return written()


def check_parity(released: Released, encoder: Encoder, images: int = 16) -> float:
    """Return the least cosine between both descriptors over random images with fundus-like contrast.

    Raises:
        EncoderError: it is below PARITY.
    """
    rng = np.random.default_rng(0)
    size = encoder.contract.size
    coarse = torch.from_numpy(rng.uniform(0, 255, (images, 3, 8, 8)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    noise = torch.from_numpy(rng.normal(0, 12, (images, 3, size, size)).astype(np.float32))
    pixels = (smooth + noise).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    with torch.no_grad():
        expected = released(pixels)[0].numpy()
    least = float((expected * encoder.encode(pixels.numpy())).sum(1).min())
    if not least >= PARITY:  # nor if it is NaN
        raise EncoderError(
            f"the exported encoder differs from the trained model: cosine {least:.5f}, expected at least {PARITY}"
        )
    return least


class ReleasedReader(nn.Module):
    """The trained model with normalisation and probabilities inside: prepared pixels in."""

    def __init__(self, model: BinocularModel, answer: Answer, contract: Contract) -> None:
        super().__init__()
        self.model, self.answer = model, answer
        self.register_buffer("mean", torch.tensor(contract.mean))
        self.register_buffer("std", torch.tensor(contract.std))

    def forward(self, pixels: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, 2, S, S, 3) uint8 and (1, 2) float32 -> READER_OUTPUTS, see `foveola.encoders.reading_model`."""
        flat = normalise(pixels[0], self.get_buffer("mean"), self.get_buffer("std"))
        there = present > 0.5
        said = self.model(flat[None], there)
        person, eyes, evidence = self.answer.answer(said, self.model.eye.weight, there)
        return person, eyes, said.feature, evidence


def export_reader(run: ReaderRun, folder: Path, config: ReadingConfig) -> Path:
    """Write a released reader and check that it says what the model says.

    Weights are kept in half precision on disk, in single precision where that changes what is
    said; float32 is computed with.

    Args:
        run: trained.
        folder: of the reader; replaced if it is there.
        config: of the run.

    Returns:
        folder.

    Raises:
        EncoderError: what the released reader says differs from what the model says.
    """
    contract = contract_of(config.model)
    with beside(folder) as partial:
        partial.mkdir(parents=True)
        released = ReleasedReader(run.model, run.answer, contract).eval().cpu()
        size = contract.size
        example = (torch.zeros(1, 2, size, size, 3, dtype=torch.uint8), torch.ones(1, 2))
        ir = _converted(released, example, [[1, 2, size, size, 3], [1, 2]], READER_OUTPUTS)
        for given, name in zip(ir.inputs, ("pixels", "present"), strict=True):
            given.get_tensor().set_names({name})
        card = _card(run, config)

        def written() -> ReaderRelease:
            made = write_reader(
                partial,
                name=config.name,
                labels=tuple(config.data.labels),
                thresholds=tuple(run.thresholds.tolist()),
                contract=contract,
                enhance=config.data.enhance,
                card=card,
            )
            card["parity"] = check_reader_parity(released, ReadingModel(made))
            return made

        release = _smallest(ir, partial, written)
        release = write_reader(  # its own answer of one eye is not the fusion's, which parity is of
            partial,
            name=config.name,
            labels=release.labels,
            thresholds=release.thresholds,
            contract=contract,
            enhance=release.enhance,
            card=card,
            alone=None if run.alone is None else tuple(run.alone.tolist()),
        )
        (partial / "CARD.md").write_text(render_reader_card(release), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def check_reader_parity(released: ReleasedReader, reader: ReadingModel, people: int = 12) -> float:
    """Return the most by which a probability differs, over made people with both eyes or one.

    Raises:
        EncoderError: it is above READER_PARITY.
    """
    rng, size, most = np.random.default_rng(0), reader.release.contract.size, 0.0
    for number in range(people):
        coarse = torch.from_numpy(rng.uniform(0, 255, (2, 3, 8, 8)).astype(np.float32))
        smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
        pixels = smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        there = np.array([number % 3 != 1, number % 3 != 2])
        pixels[~torch.from_numpy(there)] = 0
        left, right = (image.numpy() if is_there else None for image, is_there in zip(pixels, there, strict=True))
        said = reader.read(left, right)
        with torch.no_grad():
            person, eyes, *_ = released(pixels[None], torch.from_numpy(there[None]).float())
        most = max(
            most,
            float(np.abs(person[0].numpy() - said.probabilities).max()),
            float(np.abs(eyes[0].numpy() - said.eyes)[there].max()),
        )
    if not most <= READER_PARITY:  # nor if it is NaN
        raise EncoderError(
            f"a probability of the exported reader differs by {most:.4f} from the trained "
            f"model's; expected at most {READER_PARITY}"
        )
    return most


def _card(run: ReaderRun, config: ReadingConfig) -> dict[str, Any]:
    card: dict[str, Any] = {
        "training": {"seed": config.seed, "epochs": config.epochs},
        "data": run.prepared.data,
        "backbone": config.model.backbone,
        "fusion": config.model.fusion,
        "attention": config.model.attention,
        "notes": config.notes,
        "licence": config.licence,
    }
    if len(run.held.people.photographs) > 1:
        card["evaluation"] = evaluated(run.held, run)
    return card


def evaluated(said: Readings, run: ReaderRun) -> dict[str, object]:
    """Evaluate it on people held back: by the official threshold, and by the chosen ones."""
    truth, labels = said.people.truth > 0, said.people.labels
    known = {who: i for i, who in enumerate(dict.fromkeys(said.people.identities))}
    people = [known[who] for who in said.people.identities]
    told = run.told(said)
    official = evaluate_reading(truth, told, labels=labels, subjects=people)
    chosen = evaluate_reading(truth, told, labels=labels, subjects=people, thresholds=run.thresholds)
    return {"official": official.to_dict(), "chosen": chosen.to_dict()}
