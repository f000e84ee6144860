"""Turn answers into JSON and back, by rules that are the same for every answer.

    dataclass                    object of its fields
    mapping                      object
    set                          list in order
    tuple, named tuple, array    list
    path                         text
    number that is not finite    null, as JSON has no other

A field of type `Annotated[float, Decimals(6)]` is rounded, and so is every number below it.
"""

import math
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from inspect import cleandoc
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from foveola.errors import ServiceError

T = TypeVar("T")


@dataclass(frozen=True)
class Decimals:
    """Say how many decimals of a number JSON has: `Annotated[float, Decimals(6)]`."""

    places: int


class Answer:
    """Turn a dataclass into JSON and back: the base of every answer.

    Its docstring says under "Attributes:" what each field means; OpenAPI repeats these words.

    >>> from foveola.answers import Share
    >>> Share(1 / 3, 0.25, 0.5).to_dict()
    {'value': 0.333333, 'low': 0.25, 'high': 0.5}
    >>> Share.from_dict({"value": 0.5, "low": 0.25, "high": 0.75})
    Share(value=0.5, low=0.25, high=0.75)
    """

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = to_plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Make the answer that JSON holds. What is not known here is passed over.

        Raises:
            ServiceError: something is missing: this is no Foveola service, or an older one.
        """
        try:
            return _made(cls, values)  # type: ignore[no-any-return]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceError(
                f"the service's answer is no {cls.__name__} ({type(error).__name__}); is it a "
                "Foveola service, and not older than this client?"
            ) from None

    @classmethod
    def from_object(cls, source: Any, **values: Any) -> Self:
        """Make an answer of the attributes of another object, but for the values given here."""
        names = (each.name for each in fields(cls))  # type: ignore[arg-type]  # a subclass is one
        return cls(**{name: values[name] if name in values else getattr(source, name) for name in names})

    @staticmethod
    def _describe(schema: dict[str, Any], kind: Any) -> None:
        summary, meant = described(kind)
        schema["description"] = summary
        for name, words in meant.items():
            if name in schema["properties"]:
                schema["properties"][name]["description"] = words

    __pydantic_config__: ClassVar[Any] = {"json_schema_extra": _describe.__func__}  # type: ignore[attr-defined]


def to_plain(value: Any, places: int | None = None) -> Any:
    """Return a value as JSON can hold it, its numbers rounded to so many places.

    >>> to_plain({"shares": (0.123456, float("nan")), "names": {"b", "a"}}, 3)
    {'shares': [0.123, None], 'names': ['a', 'b']}
    """
    if isinstance(value, float):
        return None if not math.isfinite(value) else value if places is None else round(value, places)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name), own) for name, own in _decimals(type(value)).items()}
    if isinstance(value, Mapping):
        return {str(key): to_plain(each, places) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return [to_plain(each, places) for each in sorted(value)]
    if isinstance(value, list | tuple):
        return [to_plain(each, places) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return to_plain(value.tolist(), places) if hasattr(value, "tolist") else value  # numpy's


def described(kind: type) -> tuple[str, dict[str, str]]:
    """Return the first paragraph of a class's docstring, and what it says of each attribute.

    A subclass says what its base says, and more.
    """
    meant: dict[str, str] = {}
    summary = ""
    for each in reversed([base for base in kind.__mro__ if base.__doc__ and is_dataclass(base)]):
        text, _, attributes = cleandoc(each.__doc__ or "").partition("\n\nAttributes:\n")
        summary = " ".join(text.partition("\n\n")[0].split())
        names: list[str] = []
        for line in attributes.splitlines():
            if line.startswith("    ") and not line.startswith("     "):
                head, _, words = line.strip().partition(": ")
                names = head.split(", ")
                meant |= dict.fromkeys(names, words)
            elif line.strip():
                meant |= {name: f"{meant[name]} {line.strip()}" for name in names}
    return summary, meant


@cache
def _decimals(kind: Any) -> dict[str, int | None]:
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: _places(hints[each.name]) for each in fields(kind)}


def _places(hint: Any) -> int | None:
    """Decimals that a type names, itself or anywhere inside it."""
    if isinstance(hint, Decimals):
        return hint.places
    inner = (*get_args(hint), *getattr(hint, "__metadata__", ())) if get_origin(hint) else ()
    return next((found for each in inner if (found := _places(each)) is not None), None)


def _made(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{each.name: _made(hints[each.name], value[each.name]) for each in fields(kind)})
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        more = [each for each in inner if is_dataclass(each) or get_origin(each) is frozenset]
        return value if value is None or not more else _made(more[0], value)
    if origin is tuple:
        return tuple(_made(inner[0], each) for each in value)
    if origin is frozenset:
        return frozenset(value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _made(inner[1], each) for key, each in value.items()}
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
