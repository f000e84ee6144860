"""From a trained model to a released encoder: OpenVINO IR, parity check, card."""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from foveola.encoders.card import render_card
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import add_parts, write_release
from foveola.errors import EncoderError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel, normalise
from foveola.resources import beside
from foveola.training.config import TrainConfig
from foveola.trust import SEEN, Seen

PARITY = 0.9999  # the least cosine between torch's descriptor and the released encoder's


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
        with torch.no_grad(), warnings.catch_warnings():
            # OpenVINO traces by a torch function that warns of its own future
            warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
            ir = ov.convert_model(released, example_input=example, input=[-1, *example.shape[1:]])
        for output, name in zip(ir.outputs, ("descriptor", "features"), strict=True):
            output.get_tensor().set_names({name})
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
        for half in (True, False):
            ov.save_model(ir, partial / "model.xml", compress_to_fp16=half)
            release = write_release(partial, name=config.name, dimension=model.dimension, contract=contract, card=card)
            try:
                check_parity(released, Encoder(release))
                break
            except EncoderError:
                if not half:
                    raise
        (partial / "CARD.md").write_text(render_card(release), encoding="utf-8")
        if seen is not None:
            seen.save(partial)
            add_parts(partial, SEEN)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def check_parity(released: Released, encoder: Encoder, images: int = 16) -> float:
    """The least cosine between both descriptors over random images with fundus-like contrast.

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
