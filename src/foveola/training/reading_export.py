"""From a trained reader to a released one: OpenVINO IR, parity check, card."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from foveola.encoders.card import render_reader_card
from foveola.encoders.reading_model import ReadingModel, write_reader
from foveola.errors import EncoderError
from foveola.images.fundus import Contract
from foveola.metrics.multilabel import evaluate_reading
from foveola.models.answer import Answer
from foveola.models.binocular import BinocularModel
from foveola.models.descriptor import normalise
from foveola.resources import beside
from foveola.training.people_data import contract_of
from foveola.training.reading import ReaderRun, Readings
from foveola.training.reading_config import ReadingConfig

OUTPUTS = ("probabilities", "eyes", "feature", "evidence")
PARITY = 0.005  # the most by which a probability of the released reader may differ from torch's


class ReleasedReader(nn.Module):
    """The trained model with normalisation and probabilities inside: prepared pixels in."""

    def __init__(self, model: BinocularModel, answer: Answer, contract: Contract) -> None:
        super().__init__()
        self.model, self.answer = model, answer
        self.register_buffer("mean", torch.tensor(contract.mean))
        self.register_buffer("std", torch.tensor(contract.std))

    def forward(self, pixels: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, 2, S, S, 3) uint8 and (1, 2) float32 -> OUTPUTS, see `foveola.encoders.reading_model`."""
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
        ir = _converted(released, contract.size)
        card = _card(run, config)
        for half in (True, False):
            ov.save_model(ir, partial / "model.xml", compress_to_fp16=half)
            release = write_reader(
                partial,
                name=config.name,
                labels=tuple(config.data.labels),
                thresholds=tuple(run.thresholds.tolist()),
                contract=contract,
                enhance=config.data.enhance,
                card=card,
            )
            try:
                card["parity"] = check_parity(released, ReadingModel(release))
                break
            except EncoderError:
                if not half:
                    raise
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


def _converted(released: ReleasedReader, size: int) -> Any:
    example = (torch.zeros(1, 2, size, size, 3, dtype=torch.uint8), torch.ones(1, 2))
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces by a torch function that warns of its own future
        warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
        ir = ov.convert_model(released, example_input=example, input=[[1, 2, size, size, 3], [1, 2]])
    for output, name in zip(ir.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    for given, name in zip(ir.inputs, ("pixels", "present"), strict=True):
        given.get_tensor().set_names({name})
    return ir


def check_parity(released: ReleasedReader, reader: ReadingModel, people: int = 12) -> float:
    """The most by which a probability differs, over made people with both eyes or one.

    Raises:
        EncoderError: it is above PARITY.
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
    if not most <= PARITY:  # nor if it is NaN
        raise EncoderError(
            f"a probability of the exported reader differs by {most:.4f} from the trained "
            f"model's; expected at most {PARITY}"
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
    """How good it is on people held back: by the official threshold, and by the chosen ones."""
    truth, labels = said.people.truth > 0, said.people.labels
    known = {who: i for i, who in enumerate(dict.fromkeys(said.people.identities))}
    people = [known[who] for who in said.people.identities]
    told = run.told(said)
    official = evaluate_reading(truth, told, labels=labels, subjects=people)
    chosen = evaluate_reading(truth, told, labels=labels, subjects=people, thresholds=run.thresholds)
    return {"official": official.to_json(), "chosen": chosen.to_json()}
