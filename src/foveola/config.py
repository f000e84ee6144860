"""Frozen dataclasses to and from TOML; an unknown key is an error that guesses the right one."""

import difflib
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from foveola.errors import ConfigError

T = TypeVar("T")


def load_config(path: Path, cls: type[T]) -> T:
    """Read a TOML file into the dataclass cls.

    Raises:
        ConfigError: the file is missing, is no TOML, or has a key or value that cls does not take.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows writes a BOM
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a TOML configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {type(error).__name__}") from None
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is no TOMLDecodeError
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return from_mapping(cls, values, where=str(path))


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Build the dataclass cls from plain values; tables become the dataclasses of their fields.

    Args:
        cls: a dataclass whose fields are bool, int, float, str, Literal, dataclasses, tuples
            of these, or one of these "| None". A float is finite.
        values: field name to value, as TOML gives them.
        where: what to name in an error, a file or "file: [table]".

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type, or one that cls refuses.
        ValueError: cls is no dataclass, or has a field of another type.

    >>> from foveola.images.fundus import Contract
    >>> from_mapping(Contract, {"size": 224, "orient": True}, where="run.toml").min_side
    336
    >>> from_mapping(Contract, {"sise": 224}, where="run.toml")
    Traceback (most recent call last):
    foveola.errors.ConfigError: run.toml: unknown key 'sise'; did you mean 'size'?
    """
    if not is_dataclass(cls):
        raise ValueError(f"expected a dataclass, got {cls!r}")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    made = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**made)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn the dataclass into plain values that TOML and JSON can hold; what is None is left out."""
    return {key: _plain(value) for key, value in asdict(config).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Check value against the annotated type; TOML's lists become tuples."""
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:  # JSON has it, TOML has not
            return None
        kinds = [k for k in get_args(kind) if k is not type(None)]
        if len(kinds) != 1:
            raise ValueError(f"{where}: a setting has one type, with or without None; got {kinds}")
        (kind,) = kinds
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return from_mapping(kind, value, where=where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, where)
    if get_origin(kind) is Literal:
        return _literal(get_args(kind), value, where)
    return _scalar(kind, value, where)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: expected a list of {len(kinds)}, got {value!r}")
    return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _literal(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if any(value == item and type(value) is type(item) for item in allowed):  # True equals 1
        return value
    raise ConfigError(f"{where}: expected {' or '.join(map(repr, allowed))}, got {value!r}")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind not in (bool, int, float, str):
        raise ValueError(f"{where}: a setting can't be {kind!r}")
    # bool is an int in Python; `epochs = true` is a slip all the same
    found = type(value)
    if found is not kind and (found, kind) != (int, float):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return _finite(value, where) if kind is float else value


def _finite(value: float, where: str) -> float:
    """As a float. TOML can write nan, and checks of the form `if x < 0: raise` let it through."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{where}: expected a finite number, got {value!r}")
    return number
