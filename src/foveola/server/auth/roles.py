"""What an account may do: four roles, of which two go beyond looking in different directions."""

from typing import Literal, get_args

Role = Literal["viewer", "curator", "matcher", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


def allowed(role: Role, needed: Role) -> bool:
    """Whether an account of one role may do what needs another.

    Every role may do what a viewer may, and an admin what anybody may. A curator may not match
    people, and a matcher may not change records: who tells people apart does not file them.
    """
    return needed in ("viewer", role) or role == "admin"
