"""What a training shows: nothing on stdout, and of its libraries nothing that they advertise."""

import os
import pty
import re
import subprocess
import sys

import pytest

TRAIN = """
import sys, torch
from pathlib import Path
from foveola.cli.encoder import _training
with _training():
    import lightning
    from torch.utils.data import DataLoader, TensorDataset
    from foveola.training.loop import Loop, trainer

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return self.linear(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    data = DataLoader(TensorDataset(torch.zeros(4, 2)), 2)
    trainer(Path(sys.argv[1]), Loop(epochs=1)).fit(Model(), data)
"""
FOREIGN = r"litlogger|litmodels|Tip:|available:|[Dd]eprecat|Warning|LeafSpec|`Trainer|num_workers"


def shown(folder, terminal):
    """Stdout, and stderr, of a training of one epoch."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", TRAIN, folder], stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:  # a terminal of which the other end is closed
            pass
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, said
    return out.decode(), said.decode()


@pytest.mark.parametrize("terminal", [False, True], ids=["in a log", "on a terminal"])
def test_a_training_shows_how_far_it_is_and_nothing_of_its_libraries(tmp_path, terminal):
    out, said = shown(tmp_path, terminal)
    assert out == ""
    assert re.findall(FOREIGN, said) == []
    assert ("epoch 1/1" in said) == terminal
    assert "0/0" not in said
    assert terminal or said == ""
