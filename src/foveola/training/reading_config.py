"""Settings of a training of the binocular reader, as written in a TOML file."""

from dataclasses import dataclass, field
from typing import Literal

from foveola.evaluation.reading import ODIR
from foveola.training.loop import Precision


@dataclass(frozen=True, kw_only=True)
class PeopleConfig:
    """Which people, and how their photographs are prepared and varied."""

    manifests: tuple[str, ...]  # paths, relative to the configuration file
    collections: tuple[str, ...] = ()  # of each manifest; the folder's name without
    labels: tuple[str, ...] = ODIR
    held_out: float = 0.2  # of the people, never trained on
    fold: int | None = None  # of 1 / held_out, to be the held-out people
    split_seed: int = 0
    validation: float = 0.1  # of the others: chooses epoch, thresholds and temperature
    augment: Literal["fundus", "mild", "none"] = "fundus"
    enhance: bool = False  # equalise the lightness, the first step of paper 3
    margin: float = 1.125  # prepared images are kept this much larger than the network's input
    cache: str = "cache"  # folder of prepared images, relative to the configuration file

    def __post_init__(self) -> None:
        if not self.manifests or not self.labels:
            raise ValueError("manifests or labels is empty; expected at least one of each")
        if self.collections and len(self.collections) != len(self.manifests):
            raise ValueError(
                f"{len(self.collections)} collections for {len(self.manifests)} manifests"
            )
        if not 0 <= self.held_out < 1 or not 0 < self.validation < 1:
            raise ValueError("expected held_out 0 to below 1, and validation above 0 to below 1")
        if self.fold is not None and not (
            self.held_out and 0 <= self.fold < round(1 / self.held_out)
        ):
            raise ValueError(f"fold is {self.fold}; expected 0 to below 1 / held_out")
        if not 1 <= self.margin <= 2:
            raise ValueError(f"margin is {self.margin}; expected 1 to 2")


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """The network, see `BinocularModel`, and the pixels it sees."""

    backbone: str = "resnet50v2"  # stages 1 to 3 of GluonCV's, or a name of timm's
    weights: str | None = None  # of the backbone, relative to the configuration file
    image_size: int = 224
    attention: bool = True  # gates in the blocks that take the place of the last stage
    blocks: int = 1
    fusion: Literal["concat", "sum", "product", "cross"] = "concat"
    width: int = 2048  # of the blocks' output
    feature: int = 2048  # of the fused feature
    dropout: float = 0.2
    shared: bool = True  # one backbone for both eyes
    freeze: bool = False  # keep the backbone as it is
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ReadingLossConfig:
    """What a reading is compared with the truth by."""

    name: Literal["bce", "focal", "asymmetric", "softmax"] = "bce"
    balance: float = 0.0  # beta of class-balanced weights; 0 leaves all labels alike
    person_weight: float = 1.0  # of both eyes together; 0 for a monocular reader
    eye_weight: float = 0.5  # of each eye by itself
    missing: float = 0.1  # share of people who lose an eye in a step, so that one can be read

    def __post_init__(self) -> None:
        if min(self.person_weight, self.eye_weight) < 0 or not self.person_weight + self.eye_weight:
            raise ValueError("expected person_weight and eye_weight 0 or above, and one above 0")
        if not 0 <= self.missing < 1 or not 0 <= self.balance < 1:
            raise ValueError("expected missing and balance 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """One training of a reader."""

    name: str
    data: PeopleConfig
    model: ReaderConfig = field(default_factory=ReaderConfig)
    loss: ReadingLossConfig = field(default_factory=ReadingLossConfig)
    epochs: int = 15
    batch: int = 24  # people
    learning_rate: float = 1e-3  # peak
    backbone_rate: float = 1 / 3  # of the learning rate, for what is pretrained
    weight_decay: float = 0.05
    average_decay: float = 0.995  # of the running mean of the weights; 0: none
    patience: int = 0  # epochs without a better validation AUC before it stops
    precision: Literal["auto"] | Precision = "auto"
    workers: int = 0
    seed: int = 0
    notes: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"name is {self.name!r}; expected letters, digits, '-', '_', '.'")
        if self.epochs < 1 or self.batch < 2:
            raise ValueError("expected epochs 1 or more, and a batch of 2 people or more")
