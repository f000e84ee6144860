"""foveola accounts, audit-log: who may use an archive, and who saw what."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import existing_archive, json_option, one_line_errors, print_json, say
from foveola.plain import plain

if TYPE_CHECKING:
    from foveola.server.auth import Accounts, Role


ROLES = ("viewer", "curator", "matcher", "admin")  # a test compares them with foveola.server.auth
role_option = click.option("--role", required=True, type=click.Choice(ROLES))


@click.group(epilog="Example: foveola accounts add archive/ anna --role viewer")
def accounts() -> None:
    """Say who may use an archive over a network.

    A viewer looks and searches. A curator changes records, too, a matcher matches people, an admin
    does everything. As soon as an archive has accounts, its pages are shown to nobody else.
    """


@accounts.command(epilog="Example: foveola accounts add archive/ anna --role viewer")
@existing_archive
@click.argument("name")
@role_option
@json_option
@one_line_errors
def add(archive: Path, name: str, role: "Role", as_json: bool) -> None:
    """Make the account NAME of ARCHIVE.

    Its password is asked for, or read as a line from stdin where that is no terminal.
    """
    from foveola.archive import Archive
    from foveola.server.auth import Accounts

    Archive.open(archive, read_only=True).close()  # accounts stand beside an archive only
    password = _password()
    with Accounts.create(archive) as opened:
        opened.add(name, role, password)
    _done(
        archive,
        "account made",
        f"{name} {role}",
        f"{archive}: {name} may log in as {role}",
        as_json=as_json,
        account=name,
        role=role,
    )


@accounts.command("list", epilog="Example: foveola accounts list archive/")
@existing_archive
@json_option
@one_line_errors
def list_(archive: Path, as_json: bool) -> None:
    """List the accounts and tokens of ARCHIVE."""
    with _opened(archive) as opened:
        found, tokens = opened.everyone(), opened.tokens()
    if as_json:
        print_json(
            {
                "accounts": [account.__dict__ for account in found],
                "tokens": [
                    {"number": t.number, "account": t.account, "label": t.label, "expires": _date(t.expires)}
                    for t in tokens
                ],
            }
        )
        return
    for account in found:
        click.echo(f"{account.name:20} {account.role}")
    for token in tokens:
        click.echo(f"token {token.number} of {token.account}, until {_date(token.expires)}  {token.label}")


@accounts.command(epilog="Example: foveola accounts remove archive/ anna")
@existing_archive
@click.argument("name")
@json_option
@one_line_errors
def remove(archive: Path, name: str, as_json: bool) -> None:
    """Remove the account NAME; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.remove(name)
    said = f"{archive}: {name} is removed"
    _done(archive, "account removed", name, said, as_json=as_json, account=name)


@accounts.command(epilog="Example: foveola accounts password archive/ anna")
@existing_archive
@click.argument("name")
@json_option
@one_line_errors
def password(archive: Path, name: str, as_json: bool) -> None:
    """Give the account NAME another password; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.set_password(name, _password())
    said = f"{archive}: {name} has another password"
    _done(archive, "password changed", name, said, as_json=as_json, account=name)


@accounts.command(epilog="Example: foveola accounts role archive/ anna --role curator")
@existing_archive
@click.argument("name")
@role_option
@json_option
@one_line_errors
def role(archive: Path, name: str, role: "Role", as_json: bool) -> None:
    """Give the account NAME another role; its sessions and tokens end at once."""
    with _opened(archive) as opened:
        opened.set_role(name, role)
    _done(
        archive,
        "role changed",
        f"{name} {role}",
        f"{archive}: {name} is now {role}",
        as_json=as_json,
        account=name,
        role=role,
    )


@accounts.command(epilog="Example: foveola accounts token archive/ pacs --label feed --days 90")
@existing_archive
@click.argument("name")
@click.option("--label", default="", help="What it is for; no names of patients.")
@click.option("--days", default=90.0, show_default=True, help="For which it holds, up to 366.")
@json_option
@one_line_errors
def token(archive: Path, name: str, label: str, days: float, as_json: bool) -> None:
    """Make a token with which a program acts for NAME, and print it, this once.

    The program sends it as: Authorization: Bearer TOKEN
    """
    with _opened(archive) as opened:
        secret = opened.make_token(name, label, days)
        number = opened.tokens()[-1].number
    _done(
        archive, "token made", f"{number} of {name}", secret, as_json=as_json, account=name, number=number, token=secret
    )


@accounts.command(epilog="Example: foveola accounts revoke archive/ 3")
@existing_archive
@click.argument("number", type=int)
@json_option
@one_line_errors
def revoke(archive: Path, number: int, as_json: bool) -> None:
    """Take the token NUMBER back; `foveola accounts list` has the numbers."""
    with _opened(archive) as opened:
        opened.revoke(number)
    said = f"{archive}: token {number} is revoked"
    _done(archive, "token revoked", str(number), said, as_json=as_json, number=number)


def _opened(archive: Path) -> "Accounts":
    from foveola.server.auth import Accounts

    return Accounts(archive)


def _password() -> str:
    """From a person who types it twice, or from a program; never from the command line."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")


def _done(archive: Path, action: str, about: str, said: str, *, as_json: bool, **values: str | int) -> None:
    """Log what was done, and say it."""
    from foveola.server.audit import Log, operator

    Log(archive).append(operator(), action, about=about)
    say({"archive": str(archive), "done": action, **values}, said, as_json=as_json)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


@click.group("audit-log", epilog="Example: foveola audit-log verify archive/")
def audit_log() -> None:
    """See who saw which case of an archive with accounts, and that nobody changed the record.

    Each line of ARCHIVE/audit-log.jsonl holds the hash of the line before.
    """


@audit_log.command(epilog="Example: foveola audit-log verify archive/ --head 3f2a...")
@existing_archive
@click.option("--head", help="A head that was printed before, and kept elsewhere.")
@json_option
@one_line_errors
def verify(archive: Path, head: str | None, as_json: bool) -> None:
    """Check that no line of the log was changed, moved, put in or taken out.

    What was cut off its end, or a log made anew, only shows against a head kept elsewhere.
    """
    from foveola.server.audit import verify as check

    found = check(archive, head)
    if as_json:
        print_json(found)
        return
    click.echo(f"{archive}: {found.lines:,} lines, and each continues the one before")
    for number in found.cut:
        click.echo(f"line {number} was cut short by a crash; nothing was shown on it")
    if found.since is None:
        click.echo("no --head was given, so lines cut off the end would not be seen")
    else:
        click.echo(f"the head that was given is there, {found.since:,} lines before the end")
    click.echo(f"head {found.head}")


@audit_log.command(epilog="Example: foveola audit-log head archive/ >> elsewhere/heads.txt")
@existing_archive
@json_option
@one_line_errors
def head(archive: Path, as_json: bool) -> None:
    """Print the hash of the last line, to be kept where the archive's keepers can't change it."""
    from foveola.server.audit import head as last

    found = last(archive)
    say({"archive": str(archive), "head": found}, found, as_json=as_json)


def _time(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    from foveola.server.audit import time_of

    try:
        return None if text is None else time_of(text)
    except ValueError as error:
        raise click.BadParameter(plain(str(error))) from None


@audit_log.command(epilog="Example: foveola audit-log show archive/ --case 17 --since 2026-03")
@existing_archive
@click.option("--case", type=int, help="Only what showed the case of this id.")
@click.option("--account", help="Only of this account.")
@click.option("--since", callback=_time, help="Earliest time in UTC; 2026-03-01T09 begins one.")
@click.option("--until", callback=_time, help="Latest time; 2026-03 takes all of March.")
@json_option
@one_line_errors
def show(
    archive: Path, case: int | None, account: str | None, since: str | None, until: str | None, as_json: bool
) -> None:
    """List what was seen, by whom and when, oldest first; with --json one object a line."""
    from foveola.server.audit import read

    for seen in read(archive, case=case, account=account, since=since, until=until):
        if as_json:
            print_json(seen)
        else:
            told = " ".join(filter(None, (*map(str, seen.cases), seen.about)))
            click.echo(f"{seen.time}  {seen.account:16} {seen.action:16} {told}")
