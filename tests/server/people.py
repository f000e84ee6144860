"""Accounts of a served archive, and how they come in."""

import re
from pathlib import Path

from fastapi.testclient import TestClient

from foveola.server.auth import ROLES, Accounts

PASSWORD = "four plain words together"


def with_accounts(archive: Path, *, roles=ROLES) -> None:
    """Make an account of every role, called like it."""
    with Accounts.create(archive) as accounts:
        for role in roles:
            accounts.add(role, role, PASSWORD)


def log_in(client: TestClient, name: str, password: str = PASSWORD) -> str:
    """Log in as a browser does; returns the token that forms have to bring."""
    answer = client.post(
        "/login",
        data={"name": name, "password": password},
        headers={"Origin": str(client.base_url), "Sec-Fetch-Site": "same-origin"},
        follow_redirects=False,
    )
    assert answer.status_code == 303, answer.text
    (token,) = re.findall(r'<meta name="csrf" content="([0-9a-f]{64})">', client.get("/").text)
    return token
