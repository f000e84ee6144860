"""Who may use an archive over a network: accounts, their passwords, sessions and tokens."""

from foveola.accounts.passwords import SHORTEST
from foveola.accounts.roles import ROLES, Role, allowed
from foveola.accounts.store import FILE, Account, Accounts, Session, Token

__all__ = [
    "FILE",
    "ROLES",
    "SHORTEST",
    "Account",
    "Accounts",
    "Role",
    "Session",
    "Token",
    "allowed",
]
