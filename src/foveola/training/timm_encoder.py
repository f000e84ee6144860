"""A released encoder from a timm model and its weights, without training."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import openvino as ov
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from foveola.encoders.add import Wanted, contract_of, digest_of, free_folder, release_model
from foveola.encoders.graph import DESCRIPTOR, FEATURES, last_line
from foveola.encoders.release import Release, checked_name
from foveola.errors import EncoderError
from foveola.models.backbone import load_weights


class Pooled(nn.Module):
    """A timm model as its authors pool it, beside what it pools.

    Args:
        backbone: made with num_classes=0.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> (B, D), and a map (B, C, h, w) or (B, h, w, C) or tokens (B, T, C)."""
        features: Tensor = self.backbone.forward_features(image)
        vector: Tensor = self.backbone.forward_head(features, pre_logits=True)
        return vector, features


def add_timm(model: str, weights: Path, out: Path | None = None, wanted: Wanted | None = None) -> Release:
    """Make a released encoder of a timm model; its pooled features are the descriptor.

    Args:
        model: timm's name of it; nothing is downloaded.
        weights: a safetensors file in timm's naming; what it holds beyond the features, such as a
            classifier, is left out.
        out: folder to make; None is one named as the encoder, here.
        wanted: how to use it; size, mean and std are timm's where they are not given.

    Returns:
        The release, in `out`.

    Raises:
        EncoderError: timm has no such model, or the weights are not its; see `release_model`.
    """
    wanted = wanted or Wanted()
    if wanted.output or wanted.pooling:
        raise EncoderError("a timm model is pooled as its authors do; leave --output and --pooling out")
    architecture = model.partition(".")[0]
    if not timm.is_model(architecture):
        raise EncoderError(f"timm {timm.__version__} has no model {model!r}")
    digest, size = digest_of(weights)
    name = checked_name(wanted.name or f"{architecture[:55]}-{digest[:8]}")
    folder = free_folder(out or Path(name))
    usual: Any = timm.get_pretrained_cfg(model)
    wanted = replace(
        wanted,
        size=wanted.size or int(usual.input_size[-1]),
        mean=wanted.mean or tuple(usual.mean),
        std=wanted.std or tuple(usual.std),
    )
    contract = contract_of(wanted, None)
    made: Any = timm.create_model(architecture, num_classes=0)
    try:
        load_weights(made, weights, beyond=True)
    except (SafetensorError, ValueError) as error:
        raise EncoderError(f"{weights} holds no weights of timm's {model}: {last_line(error)}") from None
    origin = {"kind": f"weights of timm's {model}", "sha256": digest, "bytes": size}
    return release_model(_graph(made, contract.size), folder, name, contract, wanted, origin)


def _graph(model: Any, side: int) -> ov.Model:
    """The network in OpenVINO, of one image (1, 3, S, S) float32."""
    whole, image = Pooled(model).eval(), torch.zeros(1, 3, side, side)
    try:
        with torch.no_grad():
            whole(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise EncoderError(f"the network can't take images of {side} pixels: {last_line(error)}") from None
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces by a torch function that warns of its own future, and timm's models of
        # the sizes that tracing fixes, as it should
        warnings.simplefilter("ignore")
        graph = ov.convert_model(whole, example_input=image, input=list(image.shape))
    for output, name in zip(graph.outputs, (DESCRIPTOR, FEATURES), strict=True):
        output.get_tensor().set_names({name})
    return graph
