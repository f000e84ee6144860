"""Who may use an archive over a network: accounts, their passwords, sessions and tokens."""

from foveola.server.auth.accounts import FILE, ROLES, SHORTEST, Account, Accounts, Role, Session, Token, allowed

__all__ = ["FILE", "ROLES", "SHORTEST", "Account", "Accounts", "Role", "Session", "Token", "allowed"]
