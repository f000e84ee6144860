"""The loop that trainings share: it doesn't go on with weights of NaN."""

from types import SimpleNamespace

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from foveola.errors import ConfigError
from foveola.training.loop import Loop, _Alive, trainer

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
    loop = Loop(epochs=1, precision="32-true", log_every=1)
    with pytest.raises(ConfigError, match=r"the loss of step 1 is not finite; .*learning_rate"):
        trainer(tmp_path, loop).fit(toy, DataLoader(torch.ones(3), batch_size=1))
    assert toy.weight.tolist() == [0.75]


def test_a_scaler_of_float16_is_left_to_skip_the_step():
    _Alive().on_before_backward(SimpleNamespace(precision="16-mixed"), None, torch.tensor(torch.nan))
