"""What `foveola train` does with a file: an encoder, or where it says so a reader of both eyes."""

from pathlib import Path

from foveola.metrics.drawing import save_reliability
from foveola.resources import AnyPath
from foveola.training.chosen import Config, load_any
from foveola.training.config import TrainConfig
from foveola.training.prepared import Report
from foveola.training.ranks import first, joined
from foveola.training.reading import train_reader
from foveola.training.reading_export import export_reader
from foveola.training.run import train_configured


def train(config_file: AnyPath, out: AnyPath, report: Report = print) -> Path:
    """Train, or go on training, what a TOML file says, and release it; see `start`.

    Raises:
        ConfigError: the configuration is wrong, or `out` holds another run.
        ManifestError: a manifest is wrong.
    """
    config_file = Path(config_file)
    out = Path(out)
    return start(load_any(config_file), config_file.parent, out, report)


def start(config: Config, base: Path, out: Path, report: Report = print) -> Path:
    """Train, or go on training, and release.

    Args:
        config: of the run, with paths relative to base.
        base: folder.
        out: folder of the run.
        report: receives a line at each step.

    Returns:
        The folder of what is released: out/encoder, or out/reader.
    """
    with joined():
        return _start(config, base, out, report if first() else lambda _: None)


def _start(config: Config, base: Path, out: Path, report: Report) -> Path:
    if isinstance(config, TrainConfig):
        return train_configured(config, base, out, report)
    run = train_reader(config, base, out, report)
    if not first():
        return out / "reader"
    held = run.held.people
    if len(held.photographs):
        said = {
            "as trained": run.say_uncalibrated(held).probabilities,
            "after temperature scaling": run.held.probabilities,
        }
        note = f"{config.name}, {len(held.photographs)} people it was not trained on"
        save_reliability(held.truth > 0, said, out / "reliability.png", note=note)
    report("exporting the reader")
    return export_reader(run, out / "reader", config)
