"""foveola accounts, audit-log, and what serve does with them."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from commands import foveola
from foveola.archive import Archive
from foveola.cli import accounts as commands
from foveola.cli.commands import main
from foveola.server import auth as part
from foveola.server.audit import FILE, Log, head, read
from foveola.server.auth import Accounts

PASSWORD = "four plain words together"


@pytest.fixture
def archive(tmp_path):
    """Without a case, and without an encoder."""
    folder = tmp_path / "A"
    Archive.create(folder, encoder="none", fingerprint="0" * 12, dimension=2).close()
    return folder


def run(*arguments, code=0, typed=None):
    """In this process: what is printed."""
    done = CliRunner().invoke(main, list(map(str, arguments)), input=typed)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_an_account_is_made_from_a_line_of_stdin(archive):
    command = ["accounts", "add", archive, "anna", "--role", "viewer"]
    done = subprocess.run(
        [sys.executable, "-m", "foveola", *map(str, command)],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "anna may log in as viewer" in done.stdout
    with Accounts(archive) as accounts:
        assert accounts.log_in("anna", PASSWORD).account.role == "viewer"
    (line,) = read(archive)
    assert line.account.startswith("os:")
    assert (line.action, line.about) == ("account made", "anna viewer")


def test_no_option_takes_a_password():
    for command in commands.accounts.commands.values():
        for option in command.params:
            assert "password" not in option.opts[0].removeprefix("archive")


def test_an_account_through_its_life(archive):
    run("accounts", "add", archive, "anna", "--role", "viewer", typed=f"{PASSWORD}\n")
    assert "12 to 1024" in run("accounts", "password", archive, "anna", typed="short\n", code=1)
    run("accounts", "password", archive, "anna", typed="another four plain words\n")
    run("accounts", "role", archive, "anna", "--role", "matcher")
    with Accounts(archive) as accounts:
        assert accounts.log_in("anna", PASSWORD) is None
        assert accounts.log_in("anna", "another four plain words").account.role == "matcher"
    secret = run("accounts", "token", archive, "anna", "--label", "feed").strip()
    assert secret.startswith("fvl_")
    said = json.loads(run("accounts", "list", archive, "--json"))
    assert said["accounts"] == [{"name": "anna", "role": "matcher"}]
    assert (said["tokens"][0]["number"], said["tokens"][0]["label"]) == (1, "feed")
    assert secret not in run("accounts", "list", archive)
    run("accounts", "revoke", archive, 1)
    with Accounts(archive) as accounts:
        assert accounts.token(secret) is None
    run("accounts", "remove", archive, "anna")
    assert "no account" in run("accounts", "remove", archive, "anna", code=1)
    log = (archive / FILE).read_text()
    assert secret not in log
    assert "plain words" not in log
    assert [line.action for line in read(archive)] == [
        "account made",
        "password changed",
        "role changed",
        "token made",
        "token revoked",
        "account removed",
    ]


def test_the_roles_are_those_there_are():
    assert commands.ROLES == part.ROLES


def test_accounts_stand_beside_an_archive_only(tmp_path):
    said = run("accounts", "add", tmp_path, "a", "--role", "admin", typed="x\n", code=1)
    assert "not an archive" in said
    assert "accounts add" in run("accounts", "list", tmp_path, code=1)


def test_an_archive_whose_accounts_are_all_gone_is_not_served(archive):
    Accounts.create(archive).close()
    assert "nobody could log in" in foveola("serve", archive, code=1).stderr


def test_the_log_is_checked_and_shown(archive):
    log = Log(archive)
    log.append("anna", "search", [4, 7])
    anchor = head(archive)
    log.append("bert", "case", [7])
    assert run("audit-log", "head", archive).strip() == head(archive) != anchor
    said = run("audit-log", "verify", archive, "--head", anchor)
    assert "2 lines, and each continues the one before" in said
    assert "1 lines before the end" in said
    assert "no --head was given" in run("audit-log", "verify", archive)
    assert json.loads(run("audit-log", "verify", archive, "--json"))["lines"] == 2
    assert "4 7" in run("audit-log", "show", archive, "--account", "anna")
    shown = run("audit-log", "show", archive, "--case", 7, "--json").splitlines()
    assert [json.loads(line)["account"] for line in shown] == ["anna", "bert"]
    lines = (archive / FILE).read_bytes().splitlines(keepends=True)
    (archive / FILE).write_bytes(lines[0].replace(b"anna", b"emma") + lines[1])
    broken = foveola("audit-log", "verify", archive, code=1).stderr
    assert "line 2 does not continue line 1" in broken
    (archive / FILE).write_bytes(lines[0])
    assert "was longer" in foveola("audit-log", "verify", archive, code=1).stderr
    (archive / FILE).write_bytes(b"".join(lines))
    missing = run("audit-log", "verify", archive, "--head", "0" * 63 + "1", code=1)
    assert "cut off its end" in missing


def test_what_is_not_installed_is_said_in_one_sentence(archive):
    program = (
        "import sys; sys.modules['argon2'] = None; sys.argv = ['foveola', *sys.argv[1:]];"
        "from foveola.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "accounts", "list", str(archive)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "pip install 'foveola[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
