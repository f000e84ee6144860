"""All that decides a training run; a copy is saved beside the checkpoint."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which photographs, and who is held back."""

    manifests: tuple[str, ...]  # paths, relative to the configuration file
    collections: tuple[str, ...] = ()  # a name for each manifest; empty: the folders' names
    held_out: float = 0.2  # share of the subjects that training never sees, in [0, 1)
    split_seed: int = 0
    cache: str = "cache"  # folder of prepared images, relative to the configuration file

    def __post_init__(self) -> None:
        if not self.manifests:
            raise ValueError("manifests is empty; expected at least one path")
        if self.collections and len(self.collections) != len(self.manifests):
            raise ValueError(
                f"{len(self.collections)} collections for {len(self.manifests)} manifests"
            )
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; expected 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and the pixels it sees."""

    backbone: str = "mobilenetv2_100"  # any timm model
    weights: str | None = None  # safetensors of the backbone; without, it starts at random
    dimension: int = 256  # of the descriptor
    image_size: int = 256  # pixels, square, of the field of view
    freeze: int = 0  # stages of the backbone that keep their weights

    def __post_init__(self) -> None:
        if self.dimension < 2:
            raise ValueError(f"dimension is {self.dimension}; expected at least 2")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """P x K sampling: groups of one label, each group of different subjects."""

    groups: int = 16  # P; a frequent label may be drawn more than once
    images_per_group: int = 4  # K; the batch size is P x K
    label_power: float = 0.5  # labels are drawn by count ** power: 1 as found, 0 all alike
    batches_per_epoch: int = 50

    def __post_init__(self) -> None:
        if self.groups < 2 or self.images_per_group < 2:
            raise ValueError("groups and images_per_group must be 2 or more to make triplets")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Triplet loss on the descriptors, and a softmax over label proxies beside it."""

    margin: float = 0.1  # by which the cosine of a positive should exceed a negative's
    triplet_weight: float = 1.0
    proxy_weight: float = 1.0
    proxy_temperature: float = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run, as written in a TOML file."""

    name: str  # of the encoder
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    epochs: int = 20
    learning_rate: float = 1e-3  # peak, after warm-up; the backbone takes a third of it
    weight_decay: float = 0.05
    average_decay: float = 0.995  # of the running mean of the weights that is released
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    workers: int = 0  # processes that augment; 0 is best on two cores
    seed: int = 0
    notes: str = ""  # one paragraph for the model card
    licence: str = ""  # terms under which the model may be used, for the model card

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"name is {self.name!r}; expected letters, digits, '-', '_', '.'")
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; expected 1 or more")
