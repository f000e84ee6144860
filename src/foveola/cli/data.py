"""foveola adapt, card, duplicates, phantom, demo: photographs before an archive."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from foveola.cli.output import (
    PARTLY,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
    say,
)
from foveola.encoders.release import DEFAULT
from foveola.errors import FoveolaError, ImageError
from foveola.records import Case

if TYPE_CHECKING:
    import numpy as np


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
    from foveola.datasets.manifest import Manifest, render_data_card, summarise
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


@click.command(epilog="Example: foveola duplicates odir/labels.csv idrid/labels.csv --show 5")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--encoder", default=DEFAULT, show_default=True, help="Name or folder; or 'none'.")
@click.option(
    "--neighbours",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Candidates of each photograph, by descriptor and by fingerprint.",
)
@click.option(
    "--inliers",
    default=16,
    show_default=True,
    type=click.IntRange(4),
    help="Local features that must agree before two photographs show one eye.",
)
@click.option(
    "--light",
    default=0.09,
    show_default=True,
    type=click.FloatRange(0),
    help="Difference in illumination up to which one eye is one photograph.",
)
@click.option("--show", default=20, show_default=True, type=click.IntRange(0), help="Groups to print.")
@click.option("--expected", is_flag=True, help="Also list photographs of one subject's one eye.")
@click.option(
    "--fail-on-duplicates",
    is_flag=True,
    help="Exit with 1 if anything is found but photographs of one subject's one eye.",
)
@json_option
@click.pass_context
@one_line_errors
def duplicates(
    ctx: click.Context,
    sources: tuple[Path, ...],
    encoder: str,
    neighbours: int,
    inliers: int,
    light: float,
    show: int,
    expected: bool,
    fail_on_duplicates: bool,
    as_json: bool,
) -> None:
    """Find copies of photographs, and photographs of one eye, in and across SOURCES.

    SOURCES are manifests or folders of photographs; each is a data set by the name of its
    folder. Found are identical files and pixels, copies that were compressed, resized, cropped,
    turned, mirrored or brightened, and other photographs of the same eye. First come those
    whose labels contradict or that lie on two sides of a split.
    """
    from foveola.duplicates import Settings, find_duplicates, group, to_dict, to_text

    cases = _collections(sources)
    settings = Settings(neighbours=neighbours, inliers=inliers, light=light)
    descriptors = None if encoder == "none" else _encode(encoder, cases)
    with progress("comparing", len(cases)) as advance:
        found = find_duplicates(cases, descriptors, settings, progress=advance)
    if len(found.failed) == len(cases):
        first = found.failed[0].reason
        raise ImageError(f"none of the {len(cases)} photographs can be used; first: {first}")
    if as_json:
        print_json({**to_dict(cases, found), "failed": failed_json(found.failed)})
    else:
        click.echo(to_text(cases, found, show=show, expected=expected))
    list_failed(found.failed)
    if fail_on_duplicates and any(not one.expected for one in group(cases, found.pairs)):
        raise FoveolaError("duplicates were found")
    if found.failed:
        ctx.exit(PARTLY)


def _collections(sources: Sequence[Path]) -> list[Case]:
    """Each source is a collection of its own, so that its pseudonyms are."""
    names = [source.name if source.is_dir() else source.absolute().parent.name for source in sources]
    often = Counter(names)
    cases: list[Case] = []
    for number, (name, source) in enumerate(zip(names, sources, strict=True), start=1):
        collection = f"{name}/{source.name}" if often[name] > 1 else name
        if sum(source == other for other in sources) > 1:
            raise FoveolaError(f"{source} is named twice; name each data set once")
        cases += read_cases([source], collection or f"set {number}")
    return cases


def _encode(name: str, cases: Sequence[Case]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """(len(cases), D) descriptors; zeros where a photograph can't be used."""
    import numpy as np

    from foveola.encoders.encoder import Encoded, Encoder

    loaded = Encoder.load(name)
    descriptors = np.zeros((len(cases), loaded.dimension), np.float32)
    with progress("encoding", len(cases)) as advance:
        for i, result in enumerate(loaded.encode_cases(cases)):
            if isinstance(result, Encoded):
                descriptors[i] = result.descriptor
            advance(1)
    return descriptors


@click.command(epilog="Example: foveola demo --out demo")
@click.option(
    "--out",
    default="demo",
    show_default=True,
    help="Folder for everything.",
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option(
    "--subjects", default=60, show_default=True, type=click.IntRange(4), help="Phantom people, two visits each."
)
@json_option
@one_line_errors
def demo(out: Path, subjects: int, as_json: bool) -> None:
    """See it work: draw phantoms, index them, search, evaluate, write a report.

    Phantoms are drawn by rule and show no patient. With photographs of your own:
    foveola index ARCHIVE FOLDER, then foveola search ARCHIVE IMAGE --html report.html
    """
    from foveola.demo import run_demo

    with ExitStack() as bars:

        def stage(name: str, total: int) -> Callable[[int], None]:
            bars.close()  # one bar at a time
            click.echo(f"{name}: {total} images", err=True)
            return bars.enter_context(progress(name, total))

        done = run_demo(out, subjects=subjects, stage=stage)
    if as_json:
        print_json(
            {
                "report": str(done.report),
                "archive": str(done.archive),
                "manifest": str(done.manifest),
                "images": done.images,
                "evaluation": done.evaluation.to_dict(),
            }
        )
        return
    click.echo(done.evaluation.summary())
    click.echo(f"archive: {done.archive}")
    click.echo(f"report:  {done.report.absolute()}")
