"""The loop that trainings share: it does not go on with weights of NaN, and shows how far it is."""

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from foveola.errors import ConfigError
from foveola.training.config import RunConfig
from foveola.training.loop import _Alive, trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


class Toy(lightning.LightningModule):
    """One weight, whose loss is not finite from the second step on."""

    def __init__(self, value):
        super().__init__()
        self.value, self.weight = value, torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, index):
        factor = torch.where(torch.tensor(index > 0), self.value, 1.0)
        return (self.weight * batch * factor).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.25)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_ends_the_run_before_a_weight_is_spoilt(tmp_path, value):
    toy = Toy(value)
    config = RunConfig(name="toy", epochs=1, precision="32-true", average_decay=0.0)
    with pytest.raises(ConfigError, match=r"the loss of step 1 is not finite; .*learning_rate"):
        trainer(tmp_path, config, log_every=1).fit(toy, DataLoader(torch.ones(3), batch_size=1))
    assert toy.weight.tolist() == [0.75]


def test_a_scaler_of_float16_is_left_to_skip_the_step():
    _Alive().on_before_backward(SimpleNamespace(precision="16-mixed"), None, torch.tensor(torch.nan))


TRAIN = """
import sys, torch
from pathlib import Path
from foveola.cli.encoder import _training
with _training():
    import lightning
    from torch.utils.data import DataLoader, TensorDataset
    from foveola.training.config import RunConfig
    from foveola.training.loop import trainer

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return self.linear(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    data = DataLoader(TensorDataset(torch.zeros(4, 2)), 2)
    trainer(Path(sys.argv[1]), RunConfig(name="shown", epochs=1, average_decay=0.0)).fit(Model(), data)
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
