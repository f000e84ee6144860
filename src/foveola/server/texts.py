"""What the pages say, in one file a language: web/en.toml. A translation is another such file."""

import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

Texts = Callable[..., str]


def texts(language: str = "en") -> Texts:
    """Return a function from a key and the values in its sentence to the sentence.

    Raises:
        KeyError: the language lacks the key; a test asks for every key that a page uses.

    >>> texts()("query.case", id=7)
    'Case 7'
    """
    table = _table(language)

    def text(key: str, **values: object) -> str:
        return table[key].format(**values)

    return text


@cache
def _table(language: str) -> dict[str, str]:
    source = files("foveola.server.web").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return _flat(tomllib.loads(source))


def _flat(table: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: str(value)}
    return found
