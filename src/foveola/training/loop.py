"""The loop that any training here runs in: resumable, averaged, stopped early."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lightning
import tomli_w
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.optim.swa_utils import get_ema_multi_avg_fn

from foveola.config import load_config, to_mapping
from foveola.errors import ConfigError
from foveola.files import write_whole
from foveola.training.bar import Bar, is_watched
from foveola.training.ranks import world
from foveola.training.settings import Precision

BEST = "best.ckpt"  # of the epoch that was judged best

Computed = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How long, how exactly, and which epoch is released.

    Attributes:
        epochs: to run.
        precision: "auto" for what pays on this machine.
        average_decay: of the running mean of the weights that is released; 0 for none.
        judged_by: name of a logged figure, larger is better, by which the best epoch is kept.
        patience: epochs without a better one before it stops; 0 for never.
        log_every: steps.
    """

    epochs: int
    precision: Precision = "auto"
    average_decay: float = 0.0
    judged_by: str | None = None
    patience: int = 0
    log_every: int = 10


def trainer(out: Path, loop: Loop) -> lightning.Trainer:
    """A trainer whose checkpoints and log lie in a folder; on one device of each process."""
    here = 1
    if world() > 1:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        # All processes log the same figures. To average them Lightning waits for the others where
        # only the first, which has the progress bar, comes by.
        warnings.filterwarnings("ignore", "It is recommended to use .*sync_dist=True")
    return lightning.Trainer(
        devices=here,
        num_nodes=world() // here,
        # heads and projections may go unused: a loss on features has no descriptor
        strategy=DDPStrategy(find_unused_parameters=True) if world() > 1 else "auto",
        max_epochs=loop.epochs,
        precision=precision_of(loop.precision),
        callbacks=_callbacks(out, loop),
        logger=TensorBoardLogger(out, name="log", version=""),
        log_every_n_steps=loop.log_every,
        enable_model_summary=False,
        enable_progress_bar=is_watched(),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ours makes whole batches
    )


def claim(out: Path, config: object) -> None:
    """Write the configuration into the run's folder, or check that the one there is the same.

    Raises:
        ConfigError: the folder holds a run of another configuration.
    """
    kept = out / "config.toml"
    # read, not compared as text: a run begun before a setting existed has its default
    if kept.exists() and load_config(kept, type(config)) != config:
        raise ConfigError(f"{out} holds a run of another configuration; choose another folder or delete it")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(kept, tomli_w.dumps(to_mapping(config)).encode())


def last_checkpoint(out: Path) -> str | None:
    """The newest checkpoint that can be read; a kill may have cut one short."""
    for checkpoint in sorted((out / "checkpoints").glob("epoch=*.ckpt"), reverse=True):
        try:
            torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # noqa: S112 - torch raises a dozen kinds for a damaged file
            continue
        return str(checkpoint)
    return None


def precision_of(asked: Precision) -> Computed:
    """bf16 where the processor multiplies it, which is 2.4 times as fast as float32 there."""
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_bf16 else "32-true"


class _Alive(Callback):
    """Ends a run whose loss is not finite: from then on every weight would be NaN, in silence."""

    def on_before_backward(self, trainer: lightning.Trainer, _: lightning.LightningModule, loss: torch.Tensor) -> None:
        """Say so, unless a scaler of float16 will skip the step and try on."""
        if trainer.precision != "16-mixed" and not loss.isfinite():
            raise ConfigError(
                f"the loss of step {trainer.global_step} is not finite; the weights are as the "
                'last epoch left them: lower learning_rate, or set precision = "32-true"'
            )


def _callbacks(out: Path, loop: Loop) -> list[Callback]:
    callbacks: list[Callback] = [
        _Alive(),
        ModelCheckpoint(
            out / "checkpoints",
            filename="{epoch:04d}",
            monitor="epoch",
            mode="max",
            save_top_k=2,  # the newest, and one more should a kill have cut the newest short
            save_on_train_epoch_end=True,
        ),
    ]
    if loop.average_decay:
        # all tensors at once: one by one, as EMAWeightAveraging does, is a twelfth of a training
        together = get_ema_multi_avg_fn(loop.average_decay)  # type: ignore[no-untyped-call]
        callbacks.append(WeightAveraging(multi_avg_fn=together))
    if loop.judged_by:
        name = BEST.removesuffix(".ckpt")
        best = ModelCheckpoint(
            out / "checkpoints",
            filename=name,
            monitor=loop.judged_by,
            mode="max",
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        callbacks.append(best)
        if loop.patience:
            callbacks.append(EarlyStopping(loop.judged_by, mode="max", patience=loop.patience))
    if is_watched():
        callbacks.append(Bar())
    return callbacks
