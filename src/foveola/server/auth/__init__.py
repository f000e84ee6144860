"""Who may use an archive over a network: accounts, their passwords, sessions and tokens."""

from foveola.server.auth.passwords import SHORTEST
from foveola.server.auth.roles import ROLES, Role, allowed
from foveola.server.auth.store import FILE, Account, Accounts, Session, Token

__all__ = ["FILE", "ROLES", "SHORTEST", "Account", "Accounts", "Role", "Session", "Token", "allowed"]
