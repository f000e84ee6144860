"""An encoder that is spoilt on purpose: what explains it must change with it, or explains nothing.

The check is that of Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
"""

import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np

from foveola.encoders.release import Release

_SIZES = {"f16": 2, "f32": 4}


def randomised(release: Release, folder: Path, seed: int = 0) -> Release:
    """A copy whose weights are exchanged at random within each layer.

    Every layer keeps the distribution of its weights and loses what it learnt. Vectors, as of a
    bias or a normalisation, stay. The fingerprint is the original's, so keep it to experiments.

    Args:
        release: to copy.
        folder: where to put model.xml and model.bin; exists.
        seed: of the order.
    """
    shutil.copy(release.folder / "model.xml", folder)
    data = bytearray((release.folder / "model.bin").read_bytes())
    rng = np.random.default_rng(seed)
    for layer in ET.parse(folder / "model.xml").iter("layer"):  # noqa: S314 - read before by OpenVINO
        values = layer.find("data")
        if layer.get("type") != "Const" or values is None:
            continue
        kind, shape = values.get("element_type", ""), values.get("shape", "")
        long = [side for side in shape.split(",") if side.strip() not in ("", "1")]
        if kind not in _SIZES or len(long) < 2:
            continue
        start, size = int(values.get("offset", "0")), int(values.get("size", "0"))
        weights = np.frombuffer(bytes(data[start : start + size]), f"<u{_SIZES[kind]}")
        data[start : start + size] = rng.permutation(weights).tobytes()
    (folder / "model.bin").write_bytes(data)
    return replace(release, folder=folder)
