"""Passwords: what is asked of them, and how they are kept."""

import unicodedata

from foveola.errors import AccessError, MissingExtraError

try:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError
except ImportError:
    raise MissingExtraError(
        "accounts need argon2-cffi, which is not installed. Run: pip install 'foveola[serve]'"
    ) from None

SHORTEST, LONGEST = 12, 1024  # characters; NIST SP 800-63B: length, and no rules of composition
_HASHER = PasswordHasher()  # argon2id as in RFC 9106 (low memory): 64 MiB, 3 passes, 4 lanes
# Of 32 random bytes that nobody kept: an unknown name takes as long to refuse as a known one.
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$tCZB7/v7b9q+FmF3azSSSQ$NFUdz5g5TTF2fmxmRxWzX7vSzMN69AGEWR5s/wAl+9I"


def hashed(password: str, name: str) -> str:
    """How a password is kept; `name` is of its account.

    Raises:
        AccessError: it is too short or too long, or tells the name.
    """
    password = normal(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccessError(
            f"the password has {len(password)} characters; expected {SHORTEST} to {LONGEST}, a few unrelated words, say"
        )
    beside_name = password.lower().replace(name, "")
    if len(set(password)) < 5 or (len(beside_name) < 6 and beside_name != password.lower()):
        raise AccessError("the password is easily guessed; take a few unrelated words")
    return _HASHER.hash(password)


def fits(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was kept; as slow where none was.

    About 0.1 s and 64 MiB each: let few run at a time.
    """
    try:
        return _HASHER.verify(kept or NOBODY, normal(password[: LONGEST + 1])) and kept is not None
    except (Argon2Error, InvalidHashError):
        return False


def again(password: str) -> str:
    """How a password that fitted is kept today, whatever is asked of new ones."""
    return _HASHER.hash(normal(password))


def is_old(kept: str) -> bool:
    """Whether it was kept with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def normal(password: str) -> str:
    """One form of what can be typed in several."""
    return unicodedata.normalize("NFKC", password)
