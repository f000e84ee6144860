"""How far a training is, for who watches it."""

import sys

from lightning.pytorch.callbacks import RichProgressBar


class Bar(RichProgressBar):
    """Lightning's bar on stderr, as stdout has the results, with epochs counted from 1."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def _get_train_description(self, current_epoch: int) -> str:
        """Return "epoch 1/1" for the only one, where Lightning says "Epoch 0/0"."""
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def is_watched() -> bool:
    """Whether stderr is a terminal; Lightning would write its last state into a log, too."""
    return sys.stderr.isatty()
