"""Accounts, their passwords, sessions and tokens."""

import sqlite3
import stat
import statistics
import time

import pytest
from argon2 import PasswordHasher, extract_parameters

from foveola.errors import AccessError
from foveola.server.auth import FILE, Accounts
from foveola.server.auth import accounts as passwords

PASSWORD = "four plain words together"


class _Clock:
    """Seconds since 1970, as long as a test wants."""

    now = 1.8e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return _Clock()


@pytest.fixture
def accounts(tmp_path, clock, cheap):
    Accounts.create(tmp_path).close()
    with Accounts(tmp_path, clock) as made:
        made.add("anna", "viewer", PASSWORD)
        yield made


@pytest.fixture
def cheap(monkeypatch):
    """A hash that is quick to make; the tests of the hash itself do without."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_the_file_is_its_owners_alone(tmp_path, accounts):
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_neither_password_nor_session_nor_token_is_stored(tmp_path, accounts):
    session = accounts.log_in("anna", PASSWORD)
    token = accounts.make_token("anna", "feed", 1)
    stored = bytes_of(tmp_path)
    for secret in (PASSWORD, session.secret, token):
        assert len(secret) > 20
        assert secret.encode() not in stored
    assert b"$argon2id$" in stored


def test_what_is_removed_is_overwritten(tmp_path, accounts):
    accounts.add("berta", "admin", PASSWORD)
    assert b"berta" in bytes_of(tmp_path)
    accounts.remove("berta")
    assert b"berta" not in bytes_of(tmp_path)


WEAK = ["short words", "aaaaaaaaaaaaaaa", "annaannaanna", "anna12345anna", "x" * 1025, ""]


@pytest.mark.parametrize("password", WEAK)
def test_weak_passwords_are_refused(accounts, password):
    accounts.remove("anna")
    with pytest.raises(AccessError):
        accounts.add("anna", "viewer", password)
    accounts.add("anna", "viewer", PASSWORD)
    with pytest.raises(AccessError):
        accounts.set_password("anna", password)
    assert accounts.log_in("anna", PASSWORD)


@pytest.mark.parametrize("name", ["", "Anna", "anna b", "-a", "a" * 65, "a\n", "ä"])
def test_a_name_that_is_none(accounts, name):
    with pytest.raises(AccessError, match="the name of an account"):
        accounts.add(name, "viewer", PASSWORD)


def test_a_name_is_given_once(accounts):
    with pytest.raises(AccessError, match="already"):
        accounts.add("anna", "admin", PASSWORD)
    assert [account.role for account in accounts.everyone()] == ["viewer"]


def test_a_password_typed_in_another_form_of_unicode_fits(accounts):
    accounts.set_password("anna", "sch\u00f6ne gro\u00dfe W\u00f6rter")
    assert accounts.log_in("anna", "scho\u0308ne gro\u00dfe Wo\u0308rter")
    assert not accounts.log_in("anna", "schone große Worter")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", PASSWORD + " "),
        ("anna", ""),
        ("nobody", PASSWORD),
        ("", ""),
        ("anna", "\0"),
        ("anna", "x" * 100_000),
        ("anna' OR '1'='1", PASSWORD),
    ],
)
def test_what_does_not_fit_opens_nothing(accounts, name, password):
    assert accounts.log_in(name, password) is None


def test_an_unknown_name_takes_as_long_as_a_wrong_password(tmp_path):
    with Accounts.create(tmp_path) as accounts:
        accounts.add("anna", "viewer", PASSWORD)
        times = {"anna": [], "nobody": []}
        for _ in range(3):
            for name, taken in times.items():
                start = time.process_time()
                accounts.log_in(name, "three wrong words here")
                taken.append(time.process_time() - start)
    known, unknown = map(statistics.median, times.values())
    assert 0.6 < unknown / known < 1.7
    assert known > 0.02


def test_the_hash_of_nobody_costs_what_a_hash_costs():
    today = PasswordHasher()
    assert extract_parameters(passwords.NOBODY) == extract_parameters(today.hash("x"))
    assert extract_parameters(passwords.NOBODY).memory_cost == 65_536  # KiB, as RFC 9106 says


def test_a_hash_of_old_parameters_is_made_anew(accounts, monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(2, 16, 1))
    session = accounts.log_in("anna", PASSWORD)
    assert accounts.session(session.secret)
    (kept,) = accounts._ask("SELECT password FROM accounts")[0]
    assert extract_parameters(kept).time_cost == 2
    assert accounts.log_in("anna", PASSWORD)


def test_a_session_lasts_an_hour_unused_and_twelve_in_all(accounts, clock):
    begun = clock.now
    secret = accounts.log_in("anna", PASSWORD).secret
    clock.now = begun + 3599
    assert accounts.session(secret).account.name == "anna"
    clock.now += 3599  # used meanwhile
    assert accounts.session(secret)
    clock.now += 3601
    assert accounts.session(secret) is None
    secret, begun = accounts.log_in("anna", PASSWORD).secret, clock.now
    while clock.now + 1800 < begun + 12 * 3600:
        clock.now += 1800
        assert accounts.session(secret)
    clock.now = begun + 12 * 3600 + 1
    assert accounts.session(secret) is None


def test_every_session_has_a_secret_of_its_own(accounts):
    secrets = {accounts.log_in("anna", PASSWORD).secret for _ in range(3)}
    assert len(secrets) == 3
    assert all(len(secret) >= 43 for secret in secrets)  # 256 bits in base 64
    accounts.log_out(secrets.pop())
    assert all(accounts.session(secret) for secret in secrets)


def test_all_sessions_end_with_the_password_and_the_account(accounts):
    old = [accounts.log_in("anna", PASSWORD).secret for _ in range(2)]
    accounts.set_password("anna", "another four plain words")
    assert not any(map(accounts.session, old))
    assert accounts.log_in("anna", PASSWORD) is None
    new = accounts.log_in("anna", "another four plain words").secret
    token = accounts.make_token("anna", "", 1)
    accounts.remove("anna")
    assert accounts.session(new) is None
    assert accounts.token(token) is None
    assert accounts.tokens() == []


def test_a_password_changed_while_it_is_checked_opens_nothing(accounts, monkeypatch):
    fits = passwords.fits

    def slowly(password, kept):
        found = fits(password, kept)
        accounts.set_password("anna", "another four plain words")
        return found

    monkeypatch.setattr(passwords, "fits", slowly)
    assert accounts.log_in("anna", PASSWORD) is None


def test_a_token_holds_until_its_day(accounts, clock):
    token = accounts.make_token("anna", "feed", 2)
    clock.now += 2 * 86_400 - 1
    assert accounts.token(token).name == "anna"
    clock.now += 2
    assert accounts.token(token) is None
    for days in (0, -1, 367, float("nan")):
        with pytest.raises(AccessError):
            accounts.make_token("anna", "", days)
    with pytest.raises(AccessError, match="no account"):
        accounts.make_token("nobody", "", 1)


def test_another_process_sees_a_change_at_once(tmp_path, accounts):
    secret = accounts.log_in("anna", PASSWORD).secret
    with Accounts(tmp_path, accounts._clock) as other:
        assert other.session(secret)
        other.remove("anna")
    assert accounts.session(secret) is None


@pytest.mark.parametrize("data", [b"", b"no database" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_told(tmp_path, data):
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(AccessError, match=r"damaged|can't be used"):
        Accounts(tmp_path)


def test_none_there_is_told(tmp_path):
    with pytest.raises(AccessError, match="accounts add"):
        Accounts(tmp_path)


def test_a_file_of_a_newer_version_is_refused(tmp_path, accounts):
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(AccessError, match="another Foveola"):
        Accounts(tmp_path)
