"""foveola train, compare, encoder: networks of ours, and from elsewhere."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from foveola.cli.output import json_option, one_line_errors, print_json
from foveola.errors import MissingExtraError

_Three = tuple[float, ...] | None


@click.group(
    short_help="Encoders from elsewhere, and ours for elsewhere.",
    epilog="Example: foveola encoder add model.onnx --size 224 --name mine",
)
def encoder() -> None:
    """Bring in an encoder that was made elsewhere, or give ours away as ONNX."""


def _three(_context: click.Context, _parameter: click.Parameter, value: str | None) -> _Three:
    """R,G,B as numbers."""
    if value is None:
        return None
    try:
        red, green, blue = (float(each) for each in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}; expected three numbers, as 0.485,0.456,0.406") from None
    return red, green, blue


def _switch(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}/--no-{name}", default=None, help=text)


@encoder.command(
    short_help="Make an encoder of an ONNX file.",
    epilog="Example: foveola encoder add model.onnx --size 224 --out my-encoder",
)
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--size", type=int, help="Pixels on each side of the images it takes, 32 to 4096.")
@click.option(
    "--mean", metavar="R,G,B", callback=_three, help="Taken from pixels on the scale 0 to 1; ImageNet's by default."
)
@click.option("--std", metavar="R,G,B", callback=_three, help="They are divided by.")
@click.option("--output", metavar="NAME", help="The output that is the descriptor, of several.")
@click.option(
    "--pooling", type=click.Choice(["cls", "mean"]), help="Of tokens: the first, or the mean of the patches'."
)
@_switch("crop", "Cut photographs to the field of view, as is usual.")
@_switch("mask", "Blacken what lies outside it, as is usual.")
@_switch("orient", "Mirror left eyes; not usual.")
@click.option("--name", help="Of the encoder; made from the file's checksum by default.")
@click.option("--licence", default="", help="Terms of the model, for its card.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make; NAME by default.")
@click.option(
    "--timm", "timm_model", metavar="NAME", help="MODEL is a safetensors file with weights of this model of timm."
)
@json_option
@one_line_errors
def add(
    model: Path,
    size: int | None,
    mean: _Three,
    std: _Three,
    output: str | None,
    pooling: Literal["cls", "mean"] | None,
    crop: bool | None,
    mask: bool | None,
    orient: bool | None,
    name: str | None,
    licence: str,
    out: Path | None,
    timm_model: str | None,
    as_json: bool,
) -> None:
    """Make an encoder of MODEL, an ONNX file of any network that takes an image.

    Use it with: foveola index ARCHIVE PHOTOGRAPHS --encoder FOLDER. Nothing is known of how good
    it is; foveola evaluate measures that on an archive with labels.
    """
    from foveola.encoders.add import Wanted, add_onnx

    wanted = Wanted(
        size=size,
        mean=mean,
        std=std,
        crop=crop,
        mask=mask,
        orient=orient,
        output=output,
        pooling=pooling,
        name=name,
        licence=licence,
    )
    if timm_model is None:
        made = add_onnx(model, out, wanted)
    else:
        try:
            from foveola.training.timm_encoder import add_timm
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"a model of timm needs {error.name}. Run: pip install 'foveola[train]'") from error
        made = add_timm(timm_model, model, out, wanted)
    if as_json:
        print_json(
            {
                "encoder": str(made.folder),
                "name": made.name,
                "dimension": made.dimension,
                "fingerprint": made.fingerprint,
                "contract": made.contract.to_mapping(),
            }
        )
        return
    click.echo(
        f"{made.folder}: {made.name}, {made.dimension} numbers of {made.contract.size} x "
        f"{made.contract.size} pixels, fingerprint {made.fingerprint}"
    )


@encoder.command(
    short_help="Write an encoder as an ONNX file.",
    epilog="Example: foveola encoder export fundus-similarity-5 ours.onnx",
)
@click.argument("source", nargs=-1, metavar="[ENCODER]")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT")
@json_option
@one_line_errors
def export(source: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Write ENCODER, a name or a folder (the shipped one by default), as the ONNX file OUT.

    The file takes prepared pixels, (B, S, S, 3) uint8, normalises them itself, and gives
    "descriptor" (B, D) and "features". It is checked to give the same descriptors.
    """
    if len(source) > 1:
        raise click.UsageError("give one encoder and one file")
    from foveola.encoders.onnx_file import export_onnx
    from foveola.encoders.release import DEFAULT, read_release

    least = export_onnx(read_release(source[0] if source else DEFAULT), out)
    if as_json:
        print_json({"file": str(out), "cosine": least})
    else:
        click.echo(f"{out}: the same descriptors, least cosine {least:.6f}")


@click.command(epilog="Example: foveola train recipes/fundus-similarity-5.toml runs/one")
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@json_option
@one_line_errors
def train(config: Path, out: Path, as_json: bool) -> None:
    """Train an encoder as the TOML file CONFIG says; everything goes into the folder OUT.

    Killed and run again with the same arguments, it goes on from its last epoch. Watch it
    with: tensorboard --logdir OUT. The encoder is written to OUT/encoder; use it with
    foveola index ARCHIVE MANIFEST --encoder OUT/encoder.

    A file that says task = "reading" trains a reader of both eyes, written to OUT/reader; use
    it with foveola read LEFT RIGHT --reader OUT/reader.

    It takes one device. To train on N of them start as many processes:
    torchrun --nproc-per-node N -m foveola train CONFIG OUT
    """
    from foveola.training.config import load_any

    asked = load_any(config)
    with _training():
        from foveola.training.ranks import first
        from foveola.training.run import start

        released = start(asked, config.parent, out, lambda line: click.echo(line, err=True))
    if not first():
        return
    if as_json:
        print_json({released.name: str(released)})
    else:
        click.echo(released)


@click.command(epilog="Example: foveola compare triplet.toml ada.toml --out runs/ada --seeds 3")
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the runs and the table."
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100))
@json_option
@one_line_errors
def compare(configs: tuple[Path, ...], out: Path, seeds: int, as_json: bool) -> None:
    """Train each of CONFIGS with several seeds on one split, and print one table.

    RankedQueries on the subjects held out, the same for all. Killed and run again with the same
    arguments, it goes on where it stopped. The table is also written to OUT as comparison.md,
    .csv and .png.
    """
    with _training():
        from foveola.training.compare import compare as run
        from foveola.training.compare import to_markdown

        rows = run(configs, out, seeds=seeds, report=lambda line: click.echo(line, err=True))
    if as_json:
        print_json(rows)
    else:
        click.echo(to_markdown(rows))


@contextmanager
def _training() -> Iterator[None]:
    """Without what libraries tell their own developers, and what they advertise, meanwhile.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", kind)
            warnings.filterwarnings("ignore", r".*(log_every_n_steps|num_workers)")  # to developers
            yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}. Run: pip install 'foveola[train]'") from error
    finally:
        logging.disable(before)
