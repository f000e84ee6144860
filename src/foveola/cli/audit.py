"""foveola audit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import PARTLY, json_option, list_failed, one_line_errors, print_json, progress

if TYPE_CHECKING:
    from foveola.matching.saved_audit import Verdict


@click.command(epilog="Example: foveola audit archive/ --html worklist.html")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the worklist with pictures to this file."
)
@click.option("--show", default=20, show_default=True, type=click.IntRange(0), help="Findings of each kind to print.")
@click.option("--no-labels", is_flag=True, help="Leave grades and findings unjudged.")
@click.option(
    "--decide",
    nargs=2,
    metavar="KEY wrong|right|unsure|open",
    help="Record a decision on a finding instead; 'open' raises it again.",
)
@click.option("--note", default="", help="A sentence for that decision; no names.")
@json_option
@click.pass_context
@one_line_errors
def audit(
    ctx: click.Context,
    archive: Path,
    html: Path | None,
    show: int,
    no_labels: bool,
    decide: "tuple[str, Verdict] | None",
    note: str,
    as_json: bool,
) -> None:
    """List what is probably filed wrong in ARCHIVE, the surest first.

    One eye under two subjects, two eyes under one id, left filed as right, copies, subjects in two
    splits, labels that the most similar cases speak against. Nothing is changed. Needs
    `foveola matching on`, and is logged.
    """
    if decide is not None:
        _decide(archive, decide, note, as_json)
        return
    from foveola.archive import Archive
    from foveola.matching.worklist import audit_archive, to_json, to_page, to_text

    with Archive.open(archive, read_only=True) as opened:
        count = len(opened)
    with progress("looking", 2 * count) as advance:
        work = audit_archive(archive, labels=not no_labels, progress=advance)
    if html is not None:
        from foveola.report import write_page

        write_page(html, to_page(work))
    if as_json:
        print_json(to_json(work))
    else:
        click.echo(to_text(work, show))
    if html is not None:
        click.echo(f"report: {html}", err=True)
    list_failed(work.failed)
    if work.failed:
        ctx.exit(PARTLY)


def _decide(archive: Path, decision: "tuple[str, Verdict]", note: str, as_json: bool) -> None:
    from foveola.archive import Archive
    from foveola.matching.permission import permission
    from foveola.matching.saved_audit import decide

    Archive.open(archive, read_only=True).close()
    permission(archive)
    made = decide(archive, *decision, note)
    if as_json:
        print_json(made.__dict__)
    else:
        click.echo(f"{made.key}: {made.verdict}")
