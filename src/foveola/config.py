"""Frozen dataclasses to and from TOML; an unknown key is an error that guesses the right one."""

import difflib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from foveola.errors import ConfigError

T = TypeVar("T")


def load_config(path: Path, cls: type[T]) -> T:
    """Read a TOML file into the dataclass cls.

    Raises:
        ConfigError: the file is missing, is no TOML, or has a key or a value that cls does not take.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a TOML configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {type(error).__name__}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return from_mapping(cls, values, where=str(path))


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Build the dataclass cls from plain values; tables become the dataclasses of their fields.

    Args:
        cls: a dataclass whose fields are scalars, tuples of scalars or dataclasses.
        values: field name to value, as TOML gives them.
        where: what to name in an error, a file or "file: [table]".

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type, or one that cls refuses.
    """
    if not is_dataclass(cls):
        raise ValueError(f"expected a dataclass, got {cls!r}")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; {_guess(key, list(known))}")
    missing = [name for name, f in known.items() if name not in values and _required(f)]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    made = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**made)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def to_mapping(config: Any) -> dict[str, Any]:
    """The dataclass as plain values that TOML and JSON can hold; fields that are None are left out."""
    return {key: _plain(value) for key, value in asdict(config).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    return list(value) if isinstance(value, tuple) else value


def _guess(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(sorted(known))}"


def _required(f: "Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Check value against the annotated type; TOML's lists become tuples."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return from_mapping(kind, value, where=where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(get_args(kind)[0], item, where) for item in value)
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is not None:  # Literal
        if value not in get_args(kind):
            raise ConfigError(f"{where}: expected one of {get_args(kind)}, got {value!r}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int in Python; `epochs = true` is a slip all the same
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
