"""All that decides a training run, as written in a TOML file; a copy is saved beside the checkpoint.

Both trainings, of a descriptor and of a reader of both eyes, are configured by one family:
settings that every training has, and those of each. Read without torch, whose import takes seconds.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foveola.config import load_config
from foveola.metrics.multilabel import ODIR

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
class NetworkConfig:
    """What a network starts from, and the pixels it sees."""

    backbone: str
    weights: str | None = None  # of the backbone, in safetensors; without, it starts at random
    image_size: int  # pixels, square, of the field of view, that training sees
    freeze: int = 0  # stages of the backbone that keep their weights
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of R, G, B, on the scale 0 to 1
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


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


LossName = Literal[
    "triplet",
    "ada_triplet",
    "fine_triplet",
    "fine_triplet_hinge",
    "contrastive",
    "circle",
    "sct",
    "wat",
    "arcface",
    "soft_triple",
    "none",
]


@dataclass(frozen=True, kw_only=True)
class DataConfig(PhotographsConfig):
    """Which photographs, who is held back, and what makes two images alike."""

    # "disease": the grade, or the rarest finding where there is none; "findings": how far the
    # sets agree (Jaccard); "eye": the same eye of a subject.
    label: Literal["disease", "grade", "findings", "subject", "eye"] = "disease"
    # With label "subject" or "eye": train on identities of one photograph too, whose variants are
    # then all there is to be alike
    single_image_identities: bool = False
    # "fundus": framing, side, colour, focus; "mild": crop, 10 degrees, gamma, noise; "identity":
    # all that may lie between two photographs of one eye; "steady": as "fundus", and the small
    # changes of pixels that another file of the same photograph brings; "none"
    augment: Literal["fundus", "mild", "identity", "steady", "none"] = "fundus"


@dataclass(frozen=True, kw_only=True)
class ModelConfig(NetworkConfig):
    """The network and the pixels it sees."""

    backbone: str = "mobilenetv2_100"  # any timm model
    dimension: int = 256  # of the descriptor; 0 leaves the projection out
    image_size: int = 256
    # Pixels that an archive encodes at; 0 is image_size. Crops of 85 to 100 % show training all
    # things larger than a whole photograph does, which some pixels more make up for.
    encoded_size: int = 0
    mirrored: bool = False  # a descriptor is the mean of the photograph's and its mirror's
    # After training: numbers that a descriptor without projection keeps, along the principal axes
    # of the images trained on; 0 keeps all
    reduce: int = 0
    # After training: the share of the descriptor that says which labels are likely, see LabelPart
    label_share: float = 0.0
    label_strength: float = 10.0  # of the penalty of its fit: less follows the images closer
    label_sharpness: float = 1.0  # power that its probabilities are raised to, see LabelPart
    attention: Literal["none", "mirror", "self", "axial", "se", "cbam"] = "none"
    views: Literal["encode", "feature"] = "feature"  # see DescriptorModel
    gate: bool = False  # a spatial gate on the input
    fusion: Literal["concat", "sum"] = "concat"  # of the two halves of mirror attention
    pooling: Literal["gem", "average"] = "gem"  # of the map into one vector
    output_stride: int | None = None  # pixels to a position of the map; 8 or 16 see finer
    in_channels: Literal[1, 3] = 3  # 1 takes the luminance
    green: bool = False  # all channels see the green one, where vessels show best
    # Cut to the field of view of a fundus camera; false takes the whole frame, of a radiograph
    field_of_view: bool = True

    def __post_init__(self) -> None:
        if self.dimension < 2 and self.dimension != 0:
            raise ValueError(f"dimension is {self.dimension}; expected 0 or at least 2")
        if self.reduce and (self.reduce < 2 or self.dimension or self.attention == "mirror"):
            raise ValueError(
                f"reduce is {self.reduce}; expected 0, or at least 2 with dimension = 0 and "
                "without the two halves of mirror attention"
            )
        if not 0 <= self.label_share < 1:
            raise ValueError(f"label_share is {self.label_share}; expected 0 to below 1")
        for name in ("label_strength", "label_sharpness"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected above 0")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """P x K sampling: groups of one label, each group of different subjects."""

    groups: int = 16  # P; a frequent label may be drawn more than once
    images_per_group: int = 4  # K; the batch size is P x K; 1 only where no loss compares images
    label_power: float = 0.5  # labels are drawn by count ** power: 1 as found, 0 all alike
    by_collection: bool = False  # the label of each collection is drawn as a label by itself
    batches_per_epoch: int = 50
    both_eyes: bool = False  # with label "eye": both eyes of a person in one batch, to be told apart

    def __post_init__(self) -> None:
        if self.groups < 2 or self.images_per_group < 1:
            raise ValueError("expected at least 2 groups and 1 image per group")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """A loss on the descriptors, and what may stand beside it."""

    name: LossName = "triplet"
    weight: float = 1.0
    margin: float | None = None  # None: the loss's own default, 0.1 for "triplet"
    mining: Literal["all", "hard", "semihard"] | None = None  # of the triplet losses
    beta: float = 0.0  # of "ada_triplet"
    scale: float = 1.0  # of "fine_triplet"
    symmetric: bool = False  # of "fine_triplet"
    auto_margin: bool = False  # "triplet" and "ada_triplet": margin (and beta) from each epoch
    k_margin: float = 2.0
    k_beta: float = 2.0
    proxy_weight: float = 1.0  # softmax over a learnt proxy of each label; 0 for none
    proxy_temperature: float = 0.1
    grade_weight: float = 0.0  # cross-entropy of the grade head; 0 for no head
    # Of a linear head on all labels: cross-entropy, or where the labels are sets of findings one
    # binary cross-entropy each; 0 for no head
    label_weight: float = 0.0
    # Binary cross-entropy of a linear head on the findings, whatever the label; 0 for no head
    findings_weight: float = 0.0
    smoothing: float = 0.0  # of the label head: what is spread over all labels, in [0, 1)
    dropout: float = 0.0  # share of the pooled features both heads do without, in [0, 1)

    def __post_init__(self) -> None:
        if self.auto_margin and self.name not in ("triplet", "ada_triplet"):
            raise ValueError(f"auto_margin is for triplet and ada_triplet, not for {self.name}")
        weights = (self.weight, self.proxy_weight, self.grade_weight, self.label_weight, self.findings_weight)
        if min(weights) < 0:
            raise ValueError("a weight is below 0; expected 0 or above")
        for name in ("smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """One training run, as written in a TOML file."""

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    release: Literal["best", "last"] = "best"  # epoch; "best" by validation, where there is one
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"  # cosine: with warm-up

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch.images_per_group < 2 and self.loss.name != "none":
            raise ValueError(f"images_per_group is 1, which makes no pair for {self.loss.name}; expected at least 2")
        if self.model.label_share and self.data.label not in ("disease", "grade"):
            raise ValueError(f"label_share is for the labels disease and grade, not for {self.data.label}")
        if self.data.variants and (
            not self.model.freeze or self.model.gate or self.model.mirrored or self.model.encoded_size
        ):
            raise ValueError(
                "variants keeps the maps of frozen stages; set freeze, and no gate, mirrored or encoded_size"
            )
        if self.patience and not self.data.validation:
            raise ValueError("patience needs subjects to judge by; set validation under [data]")
        by_identity = self.data.label in ("subject", "eye")
        if (self.data.single_image_identities or self.batch.both_eyes) and not by_identity:
            raise ValueError("single_image_identities and both_eyes are for the labels subject and eye")
        if self.data.label == "findings" and self.loss.name in ("arcface", "soft_triple"):
            raise ValueError(f"{self.loss.name} has a proxy of each label, not of sets of findings")
        if self.data.label == "findings" and (self.loss.proxy_weight or self.loss.auto_margin):
            raise ValueError(
                "sets of findings have no proxies and no single label; set proxy_weight = 0 and leave auto_margin out"
            )


@dataclass(frozen=True, kw_only=True)
class PeopleConfig(PhotographsConfig):
    """Which people, and how their photographs are prepared and varied."""

    labels: tuple[str, ...] = ODIR
    validation: float = 0.1  # chooses epoch, thresholds and temperature
    augment: Literal["fundus", "mild", "none"] = "fundus"
    enhance: bool = False  # equalise the lightness, the first step of Li et al. 2022

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels:
            raise ValueError("labels is empty; expected at least one")
        if not self.validation:
            raise ValueError("validation is 0; expected above 0, people to choose the epoch by")


@dataclass(frozen=True, kw_only=True)
class ReaderConfig(NetworkConfig):
    """The network, see `BinocularModel`, and the pixels it sees."""

    backbone: str = "resnet50v2"  # stages 1 to 3 of GluonCV's, or a name of timm's
    weights: str | None = None  # a file, relative to this one, or an encoder
    image_size: int = 224
    attention: bool = True  # gates in the blocks that take the place of the last stage
    blocks: int = 1
    fusion: Literal["concat", "sum", "product", "cross"] = "concat"
    width: int = 2048  # of the blocks' output
    feature: int = 2048  # of the fused feature
    dropout: float = 0.2
    shared: bool = True  # one backbone for both eyes
    whole: bool = False  # keep the backbone's last stage, with the blocks behind it


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


Config = TrainConfig | ReadingConfig


def load_any(path: Path) -> Config:
    """Read the configuration in a TOML file; one of a reader says task = "reading".

    Raises:
        ConfigError: the file is missing or wrong.
    """
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("task")
    except (OSError, ValueError, RecursionError):
        task = None  # `load_config` says what is wrong
    return load_config(path, ReadingConfig) if task == "reading" else load_config(path, TrainConfig)
