"""The group of all commands. A command's module is imported when the command is run."""

import importlib
import os
import sys
from typing import Any

import click

from foveola.errors import FoveolaError, ResourceError
from foveola.plain import PlainStream

# OpenVINO's converter reports each conversion to its maker where it finds what sends that. Training
# at a hospital calls nobody; without it the converter uses a stub of its own.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

LEAST_MEMORY = 1536 << 20  # bytes: a search of a small archive takes about 1.2 GiB of addresses
CLOSED = 141  # what a shell says of a program that SIGPIPE, 13, ended

# Command to the module that holds it. Help texts are here so that `foveola --help` is quick.
COMMANDS = {
    "accounts": ("foveola.cli.accounts", "Say who may use an archive over a network."),
    "adapt": ("foveola.cli.data", "Turn an official data set's folder into a manifest."),
    "audit": ("foveola.cli.match", "List what is probably filed wrong in an archive."),
    "audit-log": ("foveola.cli.accounts", "See who saw which case, and that it is all there."),
    "backup": ("foveola.cli.archive", "Copy an archive while it is in use."),
    "card": ("foveola.cli.data", "Print the card of an encoder, or of a data set."),
    "compare": ("foveola.cli.encoder", "Train several configurations and put them in one table."),
    "demo": ("foveola.cli.data", "See it work: phantoms, an archive, searches, a report."),
    "duplicates": ("foveola.cli.data", "Find copies and photographs of one eye."),
    "encoder": ("foveola.cli.encoder", "Bring in an encoder made elsewhere; write ours as ONNX."),
    "evaluate": ("foveola.cli.evaluate", "Measure how well an archive answers."),
    "forget": ("foveola.cli.archive", "Take everything of a person out of an archive."),
    "identify": ("foveola.cli.match", "Measure how well subjects are found again."),
    "index": ("foveola.cli.index", "Put photographs into an archive."),
    "info": ("foveola.cli.archive", "Say what an archive holds."),
    "learn": ("foveola.cli.index", "Learn from an archive's labels which cases are relevant."),
    "match": ("foveola.cli.match", "Find photographs of the same eye, or say that none is."),
    "matching": ("foveola.cli.match", "Allow matching, forbid it, see who used it."),
    "pacs": ("foveola.cli.pacs", "Take photographs from a PACS, and send reports back."),
    "phantom": ("foveola.cli.data", "Draw phantom fundus photographs with known truth."),
    "read": ("foveola.cli.read", "Say which findings both eyes of a person probably show."),
    "regions": ("foveola.cli.archive", "Let an archive be searched by one place, or no longer."),
    "remove": ("foveola.cli.archive", "Take an image or a subject out of an archive."),
    "risk": ("foveola.cli.match", "Say how far descriptors tell who someone is."),
    "search": ("foveola.cli.search", "Find the cases most like a photograph."),
    "serve": ("foveola.cli.serve", "Open an archive to a browser, and to programs."),
    "study": ("foveola.cli.study", "Ask readers how alike cases are, and export the answers."),
    "train": ("foveola.cli.encoder", "Train an encoder."),
}


class _Lazy(click.Group):
    """A group whose commands are imported on demand: `search` must not wait for `train`."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; one whose output nobody reads any longer ends as by SIGPIPE, silently.

        The signal itself would also end a service whose client hangs up. One whose stdout was
        closed before it began does nothing: its answer would be lost, or end in a file that it
        opens.
        """
        if 1 in _opened_anew():
            click.echo("Error: stdout is closed; give it a place, /dev/null say", err=True)
            raise SystemExit(1)
        out = sys.stdout
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:  # of a fault that was to be told
            raise SystemExit(CLOSED) from None
        except OSError as error:  # of a help text; what else there is a command tells itself
            click.echo(f"Error: {error.filename or 'stdout'}: {error.strerror}", err=True)
            raise SystemExit(1) from None
        except SystemExit:
            if sys.stdout is not out:  # click met it, has put a deaf one there, and ends with 1
                raise SystemExit(CLOSED) from None
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: Any = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


def _opened_anew() -> set[int]:
    """Open stdin, stdout and stderr on nothing where they are closed; returns which these were."""
    names = ("stdin", "stdout", "stderr")
    closed = {number for number, name in enumerate(names) if getattr(sys, name) is None}
    for number in sorted(closed):
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, number)  # so that no file gets a number that others write to
        if nothing != number:
            os.close(nothing)
        setattr(sys, names[number], os.fdopen(number, "w" if number else "r", closefd=False))
    return closed


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foveola")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Foveola finds similar cases among retinal photographs.

    It shows similar cases with what is known of them, and never states a diagnosis.

    Exit codes: 0 done, 1 could not be done, 2 typed wrongly, 3 done but some photographs
    could not be used. With --json every command prints JSON on stdout, and nothing else.
    """
    os.umask(0o077)  # what is written here may be a patient's: it is its owner's alone
    _speak_plainly(ctx)
    try:
        check_memory()
    except FoveolaError as error:
        raise click.ClickException(str(error)) from error


def _speak_plainly(ctx: click.Context) -> None:
    """Let no name steer the terminal; a training draws its progress there by itself."""
    own = sys.stdout, sys.stderr
    draws = ctx.invoked_subcommand in ("train", "compare")
    sys.stdout, sys.stderr = PlainStream(own[0]), own[1] if draws else PlainStream(own[1])

    def restore() -> None:
        sys.stdout, sys.stderr = own

    ctx.call_on_close(restore)


def check_memory() -> None:
    """Refuse to start where the system allows too little memory (`ulimit -v`, `ulimit -d`).

    OpenBLAS and OpenVINO make threads and buffers when they are imported, and end the process by a
    signal where they get none; so this is looked at before.

    Raises:
        ResourceError: less than LEAST_MEMORY is allowed.
    """
    if sys.platform == "win32":
        return
    import resource

    for kind, option in ((resource.RLIMIT_AS, "v"), (resource.RLIMIT_DATA, "d")):
        allowed, _ = resource.getrlimit(kind)
        if 0 <= allowed < LEAST_MEMORY:
            raise ResourceError(
                f"a process may use only {allowed >> 20:,} MiB of memory here, and Foveola needs "
                f"{LEAST_MEMORY >> 20:,}; allow it more, with 'ulimit -{option} unlimited' say"
            )
