"""What a TOML file asks to be trained, read without torch, whose import takes seconds."""

import tomllib
from pathlib import Path

from foveola.config import load_config
from foveola.training.config import TrainConfig
from foveola.training.reading_config import ReadingConfig

Config = TrainConfig | ReadingConfig


def load_any(path: Path) -> Config:
    """The configuration in a TOML file; one of a reader says task = "reading".

    Raises:
        ConfigError: the file is missing or wrong.
    """
    if _is_of_reader(path):
        return load_config(path, ReadingConfig)
    return load_config(path, TrainConfig)


def _is_of_reader(path: Path) -> bool:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")).get("task") == "reading"
    except (OSError, ValueError, RecursionError):
        return False  # `load_config` says what is wrong
