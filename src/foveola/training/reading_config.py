"""Settings of a training of the binocular reader, as written in a TOML file."""

from dataclasses import dataclass, field
from typing import Literal

from foveola.metrics.multilabel import ODIR
from foveola.training.settings import PhotographsConfig, RunConfig


@dataclass(frozen=True, kw_only=True)
class PeopleConfig(PhotographsConfig):
    """Which people, and how their photographs are prepared and varied."""

    labels: tuple[str, ...] = ODIR
    validation: float = 0.1  # chooses epoch, thresholds and temperature
    augment: Literal["fundus", "mild", "none"] = "fundus"
    enhance: bool = False  # equalise the lightness, the first step of paper 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels:
            raise ValueError("labels is empty; expected at least one")
        if not self.validation:
            raise ValueError("validation is 0; expected above 0, people to choose the epoch by")


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """The network, see `BinocularModel`, and the pixels it sees."""

    backbone: str = "resnet50v2"  # stages 1 to 3 of GluonCV's, or a name of timm's
    weights: str | None = None  # of the backbone: a file, relative to this one, or an encoder
    image_size: int = 224
    attention: bool = True  # gates in the blocks that take the place of the last stage
    blocks: int = 1
    fusion: Literal["concat", "sum", "product", "cross"] = "concat"
    width: int = 2048  # of the blocks' output
    feature: int = 2048  # of the fused feature
    dropout: float = 0.2
    shared: bool = True  # one backbone for both eyes
    whole: bool = False  # keep the backbone's last stage, with the blocks behind it
    freeze: int = 0  # stages of the backbone that keep their weights
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
class ReadingConfig(RunConfig):
    """One training of a reader."""

    task: Literal["reading"] = "reading"  # a file must say it, to be known as of a reader
    data: PeopleConfig
    model: ReaderConfig = field(default_factory=ReaderConfig)
    loss: ReadingLossConfig = field(default_factory=ReadingLossConfig)
    epochs: int = 15
    batch: int = 24  # people

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 2:
            raise ValueError(f"batch is {self.batch}; expected 2 people or more")
        if self.data.variants and (not self.model.freeze or not self.model.shared):
            raise ValueError("variants keeps the maps of frozen stages of one backbone; set freeze and shared")
