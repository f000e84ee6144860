"""foveola demo."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from foveola.cli.output import json_option, one_line_errors, print_json, progress


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
                "evaluation": done.evaluation.to_json(),
            }
        )
        return
    click.echo(done.evaluation.summary())
    click.echo(f"archive: {done.archive}")
    click.echo(f"report:  {done.report.absolute()}")
