"""foveola duplicates."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
)
from foveola.encoders.release import DEFAULT
from foveola.errors import FoveolaError, ImageError
from foveola.records import Case

if TYPE_CHECKING:
    import numpy as np


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
    from foveola.duplicates import Settings, find_duplicates, group, to_json, to_text

    cases = _cases(sources)
    settings = Settings(neighbours=neighbours, inliers=inliers, light=light)
    descriptors = None if encoder == "none" else _encode(encoder, cases)
    with progress("comparing", len(cases)) as advance:
        found = find_duplicates(cases, descriptors, settings, progress=advance)
    if len(found.failed) == len(cases):
        first = found.failed[0].reason
        raise ImageError(f"none of the {len(cases)} photographs can be used; first: {first}")
    if as_json:
        print_json({**to_json(cases, found), "failed": failed_json(found.failed)})
    else:
        click.echo(to_text(cases, found, show=show, expected=expected))
    list_failed(found.failed)
    if fail_on_duplicates and any(not one.expected for one in group(cases, found.pairs)):
        raise FoveolaError("duplicates were found")
    if found.failed:
        ctx.exit(PARTLY)


def _cases(sources: Sequence[Path]) -> list[Case]:
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
