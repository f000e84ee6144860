"""The loop that any training here runs in: resumable, averaged, stopped early."""

import math
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import lightning
import tomli_w
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from foveola.config import load_config, to_mapping
from foveola.errors import ConfigError
from foveola.files import write_whole
from foveola.training.config import Precision, RunConfig
from foveola.training.ranks import world


class Bar(RichProgressBar):
    """Lightning's bar on stderr, as stdout has the results, with epochs counted from 1."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def _get_train_description(self, current_epoch: int) -> str:
        """Return "epoch 1/1" for the only one, where Lightning says "Epoch 0/0"."""
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def is_watched() -> bool:
    """Tell whether stderr is a terminal; Lightning would write its last state into a log, too."""
    return sys.stderr.isatty()


def warm_cosine(steps: int) -> Callable[[int], float]:
    """Return the share of the peak at each step: warm-up over a twentieth of the run, then a cosine to 0.

    >>> share = warm_cosine(steps=100)
    >>> [round(share(step), 2) for step in (0, 4, 5, 52, 100)]
    [0.2, 1.0, 1.0, 0.51, 0.0]
    """
    warm_up = max(1, steps // 20)

    def share(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return 0.5 * (1 + math.cos(math.pi * done))

    return share


LOG_EVERY = 10  # steps
BEST = "best.ckpt"  # of the epoch that was judged best

Computed = Literal["32-true", "bf16-mixed", "16-mixed"]


def run_epochs(
    out: Path,
    config: RunConfig,
    module: lightning.LightningModule,
    batches: "DataLoader[Any]",
    judged: "DataLoader[Any] | None",
    *,
    judged_by: str | None,
) -> None:
    """Train a module, or go on from the newest checkpoint of its folder; see `trainer`."""
    made = trainer(out, config, judged_by=judged_by, log_every=min(LOG_EVERY, len(batches)))
    with redirect_stdout(sys.stderr):  # Lightning's progress; stdout is for results
        made.fit(module, batches, judged, ckpt_path=last_checkpoint(out), weights_only=True)


def load_checkpoint(module: lightning.LightningModule, path: Path) -> None:
    """Load what a checkpoint holds of a module's weights."""
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])


def trainer(
    out: Path, config: RunConfig, *, judged_by: str | None = None, log_every: int = LOG_EVERY
) -> lightning.Trainer:
    """Return a trainer whose checkpoints and log lie in a folder; on one device of each process.

    Args:
        out: the folder.
        config: says how long, how exactly, and how the weights that are released are averaged.
        judged_by: name of a logged figure, larger is better, by which the best epoch is kept.
        log_every: steps.
    """
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
        max_epochs=config.epochs,
        precision=precision_of(config.precision),
        callbacks=_callbacks(out, config, judged_by),
        logger=TensorBoardLogger(out, name="log", version=""),
        log_every_n_steps=log_every,
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
    """Return the newest checkpoint that can be read; a kill may have cut one short."""
    for checkpoint in sorted((out / "checkpoints").glob("epoch=*.ckpt"), reverse=True):
        try:
            torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # noqa: S112 - torch raises a dozen kinds for a damaged file
            continue
        return str(checkpoint)
    return None


def precision_of(wanted: Precision) -> Computed:
    """Return bf16 for "auto" where the processor multiplies it, 2.4 times as fast as float32 there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_bf16 else "32-true"


class _Alive(Callback):
    """Ends a run whose loss is not finite: from then on every weight would be NaN, in silence."""

    def on_before_backward(self, trainer: lightning.Trainer, _: lightning.LightningModule, loss: torch.Tensor) -> None:
        """Refuse the step, unless a scaler of float16 will skip it and try on."""
        if trainer.precision != "16-mixed" and not loss.isfinite():
            raise ConfigError(
                f"the loss of step {trainer.global_step} is not finite; the weights are as the "
                'last epoch left them: lower learning_rate, or set precision = "32-true"'
            )


def _callbacks(out: Path, config: RunConfig, judged_by: str | None) -> list[Callback]:
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
    if config.average_decay:
        # all tensors at once: one by one, as EMAWeightAveraging does, is a twelfth of a training
        together = get_ema_multi_avg_fn(config.average_decay)  # type: ignore[no-untyped-call]
        callbacks.append(WeightAveraging(multi_avg_fn=together))
    if judged_by:
        name = BEST.removesuffix(".ckpt")
        best = ModelCheckpoint(
            out / "checkpoints",
            filename=name,
            monitor=judged_by,
            mode="max",
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        callbacks.append(best)
        if config.patience:
            callbacks.append(EarlyStopping(judged_by, mode="max", patience=config.patience))
    if is_watched():
        callbacks.append(Bar())
    return callbacks
