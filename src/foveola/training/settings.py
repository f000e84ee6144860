"""Settings that every training has: which photographs, who is held back, and how it runs."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]  # "auto": what pays here


@dataclass(frozen=True, kw_only=True)
class PhotographsConfig:
    """Which photographs, and who is held back."""

    manifests: tuple[str, ...]  # paths, relative to the configuration file
    collections: tuple[str, ...] = ()  # a name for each manifest; empty: the folders' names
    held_out: float = 0.2  # share of the subjects that training never sees, in [0, 1)
    split_seed: int = 0
    fold: int | None = None  # hold out this one of the 1 / held_out folds of subjects instead
    validation: float = 0.0  # share of the remaining subjects that choose the epoch, in [0, 1)
    # Above 0: the frozen stages see that many variants of each image, once, and their maps are
    # kept in the cache for every epoch. Many times faster; 0 makes a new variant each time.
    variants: int = 0
    # Prepared images are kept this much larger than the network's input. Above 1, turning and
    # scaling do not soften them; at 1, training sees the same sharpness as an archive is shown.
    margin: float = 1.125
    cache: str = "cache"  # folder of prepared images, relative to the configuration file

    def __post_init__(self) -> None:
        if not self.manifests:
            raise ValueError("manifests is empty; expected at least one path")
        if self.collections and len(self.collections) != len(self.manifests):
            raise ValueError(f"{len(self.collections)} collections for {len(self.manifests)} manifests")
        for name in ("held_out", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to below 1")
        if self.fold is not None and not (self.held_out and 0 <= self.fold < round(1 / self.held_out)):
            raise ValueError(f"fold is {self.fold}; expected 0 to below 1 / held_out, and held_out above 0")
        if not 1 <= self.margin <= 2:
            raise ValueError(f"margin is {self.margin}; expected 1 to 2")
        if self.variants < 0:
            raise ValueError(f"variants is {self.variants}; expected 0 or above")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a training is called, how long it is and how fast it learns."""

    name: str  # of what is released
    epochs: int = 20
    learning_rate: float = 1e-3  # peak
    backbone_rate: float = 1 / 3  # of the learning rate, for what is pretrained
    weight_decay: float = 0.05
    average_decay: float = 0.995  # of the running mean of the weights that is released; 0: none
    patience: int = 0  # epochs without a better validation figure before it stops; 0: all epochs
    precision: Precision = "auto"
    workers: int = 0  # processes that augment; 0 is best on two cores
    seed: int = 0
    notes: str = ""  # one paragraph for the model card
    licence: str = ""  # terms under which the model may be used, for the model card

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"name is {self.name!r}; expected letters, digits, '-', '_', '.'")
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; expected 1 or more")
