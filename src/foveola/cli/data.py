"""foveola adapt, phantom, train, compare: what comes before an archive."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click

from foveola.cli.output import json_option, one_line_errors, print_json, progress, say
from foveola.errors import MissingExtraError


@click.command(epilog='Example: foveola adapt idrid "B. Disease Grading"')
@click.argument("name", required=False)
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The manifest to write; FOLDER/manifest.csv by default.")
@click.option("--skip-missing", is_flag=True, help="Leave out listed photographs that are missing.")
@click.option("--overwrite", is_flag=True, help="Replace a file that says something else.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    callback=lambda _context, _option, values: _columns(values),
    help="For huggingface: what the data set calls a column, such as subject=patient_id.",
)
@json_option
@one_line_errors
def adapt(
    name: str | None,
    folder: Path | None,
    out: Path | None,
    skip_missing: bool,
    overwrite: bool,
    columns: dict[str, str],
    as_json: bool,
) -> None:
    """Write the manifest of the data set NAME, unpacked in FOLDER as its authors publish it.

    Without arguments it lists the data sets it knows.
    """
    from foveola.datasets.adapters import ADAPTERS
    from foveola.datasets.adapters import adapt as write

    if name is None:
        titles = {key: adapter.title for key, adapter in sorted(ADAPTERS.items())}
        listed = "\n".join(f"{key:12} {title}" for key, title in titles.items())
        say(titles, listed, as_json=as_json)
        return
    if folder is None:
        raise click.UsageError(f"name the folder that holds {name}")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    missing: Literal["error", "skip"] = "skip" if skip_missing else "error"
    path = write(name, folder, out, missing=missing, overwrite=overwrite, columns=columns)
    if as_json:
        print_json({"manifest": str(path)})
    else:
        click.echo(path)


def _columns(values: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for value in values:
        name, _, column = value.partition("=")
        if not name or not column or name in named:
            raise click.BadParameter(f"{value!r}; expected once such as subject=patient_id")
        named[name] = column
    return named


@click.command(epilog="Example: foveola card fundus-similarity-5")
@click.argument("source")
@json_option
@one_line_errors
def card(source: str, as_json: bool) -> None:
    """Print the card of SOURCE: an encoder or a reader (its name or folder), or a manifest.

    Of a model: what it was trained on, how good it is on whom, its limits and terms. Of a
    manifest: how many photographs, people, grades and findings it has. Markdown; nothing that
    names a subject.
    """
    from foveola.datasets.manifest import Manifest
    from foveola.datasets.summary import render_data_card, summarise
    from foveola.encoders.card import render_card
    from foveola.encoders.reading_model import is_reader
    from foveola.encoders.release import read_release

    if Path(source).is_file():
        manifest = Manifest.read(Path(source), check_files=False)
        summary = summarise(list(manifest.cases()))
        if as_json:
            print_json(summary)
        else:
            click.echo(render_data_card(Path(source).resolve().parent.name, summary), nl=False)
        return
    if is_reader(source):
        _reader_card(source, as_json=as_json)
        return
    release = read_release(source)
    if as_json:
        print_json(
            {
                "name": release.name,
                "dimension": release.dimension,
                "fingerprint": release.fingerprint,
                "contract": release.contract.to_mapping(),
                "card": dict(release.card),
            }
        )
    else:
        click.echo(render_card(release), nl=False)


def _reader_card(source: str, *, as_json: bool) -> None:
    from foveola.encoders.card import render_reader_card
    from foveola.encoders.reading_model import read_reader

    release = read_reader(source)
    if as_json:
        print_json(
            {
                "name": release.name,
                "labels": list(release.labels),
                "thresholds": list(release.thresholds),
                "enhance": release.enhance,
                "alone": None if release.alone is None else list(release.alone),
                "fingerprint": release.fingerprint,
                "contract": release.contract.to_mapping(),
                "card": dict(release.card),
            }
        )
    else:
        click.echo(render_reader_card(release), nl=False)


@click.command(epilog="Example: foveola phantom phantoms/ --subjects 20 --visits 3 --seed 1")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--subjects", default=20, show_default=True, type=click.IntRange(1), help="People.")
@click.option(
    "--visits",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Yearly visits of each, with both eyes photographed.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same phantoms.")
@click.option("--size", default=512, show_default=True, type=int, help="Pixels of each side.")
@click.option("--no-masks", is_flag=True, help="Write no lesion masks.")
@json_option
@one_line_errors
def phantom(out: Path, subjects: int, visits: int, seed: int, size: int, no_masks: bool, as_json: bool) -> None:
    """Draw phantom fundus photographs into OUT, with lesion masks and a manifest.

    A phantom is drawn by rule and shows no patient. Its identity, grade and lesions are known
    exactly. No accuracy on phantoms says anything about patients.
    """
    from foveola.phantom import generate

    total = subjects * visits * 2
    with progress("drawing", total) as advance:
        manifest = generate(
            out,
            subjects=subjects,
            visits=visits,
            seed=seed,
            size=size,
            masks=not no_masks,
            progress=lambda _done, _all: advance(1),
        )
    if as_json:
        print_json({"manifest": str(manifest), "images": total})
    else:
        click.echo(manifest)


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
        print_json([_without_nan(asdict(row)) for row in rows])
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


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """One seed has no standard error: null in JSON."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
