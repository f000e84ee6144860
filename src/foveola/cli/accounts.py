"""foveola accounts."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import json_option, one_line_errors, print_json

if TYPE_CHECKING:
    from foveola.accounts import Accounts, Role

ROLES = ("viewer", "curator", "matcher", "admin")  # a test compares them with foveola.accounts
archive_argument = click.argument(
    "archive", type=click.Path(file_okay=False, exists=True, path_type=Path)
)
role_option = click.option("--role", required=True, type=click.Choice(ROLES))


@click.group(epilog="Example: foveola accounts add archive/ anna --role viewer")
def accounts() -> None:
    """Say who may use an archive over a network.

    A viewer looks and searches. A curator changes records, too, a matcher matches people, an admin
    does everything. As soon as an archive has accounts, its pages are shown to nobody else.
    """


@accounts.command(epilog="Example: foveola accounts add archive/ anna --role viewer")
@archive_argument
@click.argument("name")
@role_option
@one_line_errors
def add(archive: Path, name: str, role: "Role") -> None:
    """Make the account NAME of ARCHIVE.

    Its password is asked for, or read as a line from stdin where that is no terminal.
    """
    from foveola.accounts import Accounts
    from foveola.archive import Archive

    Archive.open(archive, read_only=True).close()  # accounts stand beside an archive only
    password = _password()
    with Accounts.create(archive) as opened:
        opened.add(name, role, password)
    _log(archive, "account made", f"{name} {role}")
    click.echo(f"{archive}: {name} may log in as {role}")


@accounts.command("list", epilog="Example: foveola accounts list archive/")
@archive_argument
@json_option
@one_line_errors
def list_(archive: Path, as_json: bool) -> None:
    """List the accounts and tokens of ARCHIVE."""
    with _opened(archive) as opened:
        found, tokens = opened.everyone(), opened.tokens()
    if as_json:
        print_json({
            "accounts": [account.__dict__ for account in found],
            "tokens": [
                {"number": t.number, "account": t.account, "label": t.label,
                 "expires": _date(t.expires)} for t in tokens
            ],
        })  # fmt: skip
        return
    for account in found:
        click.echo(f"{account.name:20} {account.role}")
    for token in tokens:
        click.echo(
            f"token {token.number} of {token.account}, until {_date(token.expires)}  {token.label}"
        )


@accounts.command(epilog="Example: foveola accounts remove archive/ anna")
@archive_argument
@click.argument("name")
@one_line_errors
def remove(archive: Path, name: str) -> None:
    """Remove the account NAME; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.remove(name)
    _log(archive, "account removed", name)
    click.echo(f"{archive}: {name} is removed")


@accounts.command(epilog="Example: foveola accounts password archive/ anna")
@archive_argument
@click.argument("name")
@one_line_errors
def password(archive: Path, name: str) -> None:
    """Give the account NAME another password; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.set_password(name, _password())
    _log(archive, "password changed", name)
    click.echo(f"{archive}: {name} has another password")


@accounts.command(epilog="Example: foveola accounts role archive/ anna --role curator")
@archive_argument
@click.argument("name")
@role_option
@one_line_errors
def role(archive: Path, name: str, role: "Role") -> None:
    """Give the account NAME another role; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.set_role(name, role)
    _log(archive, "role changed", f"{name} {role}")
    click.echo(f"{archive}: {name} is now {role}")


@accounts.command(epilog="Example: foveola accounts token archive/ pacs --label feed --days 90")
@archive_argument
@click.argument("name")
@click.option("--label", default="", help="What it is for; no names of patients.")
@click.option("--days", default=90.0, show_default=True, help="For which it holds, up to 366.")
@one_line_errors
def token(archive: Path, name: str, label: str, days: float) -> None:
    """Make a token with which a program acts for NAME, and print it, this once.

    The program sends it as: Authorization: Bearer TOKEN
    """
    with _opened(archive) as opened:
        secret = opened.make_token(name, label, days)
        number = opened.tokens()[-1].number
    _log(archive, "token made", f"{number} of {name}")
    click.echo(secret)


@accounts.command(epilog="Example: foveola accounts revoke archive/ 3")
@archive_argument
@click.argument("number", type=int)
@one_line_errors
def revoke(archive: Path, number: int) -> None:
    """Take the token NUMBER back; `foveola accounts list` has the numbers."""
    with _opened(archive) as opened:
        opened.revoke(number)
    _log(archive, "token revoked", str(number))
    click.echo(f"{archive}: token {number} is revoked")


def _opened(archive: Path) -> "Accounts":
    from foveola.accounts import Accounts

    return Accounts(archive)


def _password() -> str:
    """From a person who types it twice, or from a program; never from the command line."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")


def _log(archive: Path, action: str, about: str) -> None:
    from foveola.audit_log import Log
    from foveola.audit_log.chain import operator

    Log(archive).append(operator(), action, about=about)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
