"""foveola learn."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import json_option, one_line_errors, print_json

if TYPE_CHECKING:
    from foveola.learned import Learned


@click.command(epilog="Example: foveola learn archive/ --label dme")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="A further column to learn from, beside grade and findings; may be given again.",
)
@json_option
@click.pass_context
@one_line_errors
def learn(ctx: click.Context, archive: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Learn from the labels that ARCHIVE records which cases are relevant.

    A search then finds cases with the labels that the query is likely to have, and says how many of
    100 photographs like it have each. `foveola index` does this at its end for grade and findings;
    a column that was learnt once is learnt again whenever the archive changes. A label value that
    fewer than 6 people have is not learnt. What similarities are worth is learnt anew, too.
    """
    from foveola import trust
    from foveola.archive import Archive
    from foveola.errors import ArchiveError
    from foveola.learned import learn_archive, load_learned

    with Archive.open(archive) as opened:
        columns = opened.info().columns
        if unknown := sorted(set(labels) - {"grade", "findings", *columns}):
            raise ArchiveError(
                f"{archive} has no column {unknown[0]!r}; expected one of {', '.join(('grade', 'findings', *columns))}"
            )
        kept = load_learned(opened)
        trust.refresh(opened)
        more = {*labels, *(kept.columns if kept else ())} - {"grade", "findings"}
        made = learn_archive(opened, more)
    if as_json:
        print_json(
            {
                "archive": str(archive),
                "fitted_on": made.fitted_on,
                "refused": dict(made.refused),
                "labels": {
                    label: {
                        "values": of.values,
                        "too_few": of.unlearnt,
                        "cases": of.cases,
                        "people": of.calibrated.people,
                        "new_to_the_encoder": of.calibrated.new,
                    }
                    for label, of in made.labels.items()
                },
            }
        )
    else:
        say_learned(made)
    if any(label not in made.labels for label in labels) or not made.labels:
        ctx.exit(1)


def say_learned(made: "Learned") -> None:
    """Say on stderr what an archive learnt, and of what too few labels are known."""
    for label, of in made.labels.items():
        few = f"; too few people have {', '.join(of.unlearnt)}" if of.unlearnt else ""
        click.echo(f"learnt {len(of.values)} values of {label} from {of.cases} cases{few}", err=True)
    if not made.labels and not made.refused:
        click.echo("nothing learnt: no case has a grade or findings; record some", err=True)
    for reason in made.refused.values():
        click.echo(f"not learnt, so ranked by looks: {reason}", err=True)
