"""Search conditions: text in, SQL with bound values out.

Nothing of the text reaches SQL as text: operators come from a table below, columns of a case
from a list, names of further columns and all values are bound parameters.

Logic is SQL's, with three values: a comparison with something unknown is unknown, and so is
its opposite; a case is found where the whole condition is true. A value of the other kind
(a text among numbers) counts as unknown. docs/reference/archive.md explains the language.
"""

import difflib
import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from lark import Lark, Transformer, UnexpectedEOF, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from foveola.errors import FilterError
from foveola.records import identifier

MAX_LENGTH = 10_000  # characters
MAX_TESTS = 200  # comparisons; SQLite takes a chain of less than 1000
MAX_DEPTH = 20  # of "not" and of "and" within "or"; SQLite's parser has a stack of 100

Value = str | float  # int is a float to the type checker
Columns = Mapping[str, Collection[str]]  # further column -> its kinds: "number", "text" or both
Sql = tuple[str, list[Value]]
Spellings = Callable[[], Mapping[str, Iterable[str]]]  # normal form -> others that are stored

CANONICAL: dict[str, frozenset[str]] = {
    "image": frozenset({"text"}),
    "path": frozenset({"text"}),
    "subject": frozenset({"text"}),
    "eye": frozenset({"text"}),
    "visit": frozenset({"number", "text"}),
    "grade": frozenset({"number"}),
    "findings": frozenset({"set"}),
    "collection": frozenset({"text"}),
}
IDENTIFIERS = ("subject", "collection")
_OPERATORS = {op: op for op in ("=", "<", "<=", ">", ">=")} | {"==": "=", "!=": "<>", "<>": "<>"}
_TYPES = {"text": "'text'", "number": "'integer', 'real', 'true', 'false'"}
_EXAMPLE = "grade >= 2 and eye = 'left'"


@dataclass(frozen=True)
class Condition:
    """A parsed condition.

    Attributes:
        tests: how many comparisons it has.
        depth: how deep it is nested.
    """

    tests: int
    depth: int

    def sql(self, columns: Columns, hidden: Collection[str] = (), odd: Spellings = dict) -> Sql:
        """Return an SQL expression over `cases AS c` and the values to bind, in order.

        Args:
            columns: the further columns of the archive and the kinds of value each holds.
            hidden: columns that are as good as not there for whoever asks.
            odd: gives how identifiers are spelt in the tables, where that is not their normal form.

        Raises:
            FilterError: an unknown column, or one of another kind than the condition assumes.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class _Test(Condition):
    """One comparison of a column: `template` has a place for the column, then one a value.

    `{marks}` in it is a list of all values; `=` with an identifier is made one.
    """

    column: str
    kind: str  # of the values: "text", "number", "set", or "any" where there are none
    template: str
    values: tuple[Value, ...]

    def sql(self, columns: Columns, hidden: Collection[str] = (), odd: Spellings = dict) -> Sql:
        kinds = _kinds(self.column, columns, hidden)
        if self.kind != "any":
            _check_kind(self.column, kinds, self.kind, self.values)
        if self.column == "eye":
            _check_eye(self.template, self.values)
        expression, bound = _expression(self.column, self.kind, kinds)
        values = self._spelt(odd) if self.column in IDENTIFIERS else list(self.values)
        marks = ", ".join("?" * len(values))
        return self.template.format(expression, marks=marks), [*bound, *values]

    def _spelt(self, odd: Spellings) -> list[Value]:
        """Identifiers in their normal form and, for those in a list, as the tables spell them."""
        normal = [identifier(str(value)) for value in self.values]
        stored = odd() if "{marks}" in self.template else {}
        return [text for one in normal for text in (one, *stored.get(one, ()))]


@dataclass(frozen=True)
class _Joined(Condition):
    word: str
    parts: tuple[Condition, ...]

    def sql(self, columns: Columns, hidden: Collection[str] = (), odd: Spellings = dict) -> Sql:
        made = [part.sql(columns, hidden, odd) for part in self.parts]
        text = f" {self.word} ".join(sql for sql, _ in made)
        return f"({text})", [value for _, values in made for value in values]


@dataclass(frozen=True)
class _Negated(Condition):
    part: Condition

    def sql(self, columns: Columns, hidden: Collection[str] = (), odd: Spellings = dict) -> Sql:
        sql, values = self.part.sql(columns, hidden, odd)
        return f"(NOT {sql})", values


def parse(where: str) -> Condition:
    """Read a condition such as "grade >= 2 and eye = 'left'".

    Raises:
        FilterError: it is not in the language, too long or too deep; says where and gives
            an example.

    >>> sql, values = parse("grade >= 2 and eye = 'left'").sql({})
    >>> print(sql, values)
    ((c.grade >= ?) AND (c.eye = ?)) [2, 'left']
    """
    if len(where) > MAX_LENGTH:
        raise FilterError(f"the condition has {len(where)} characters; at most {MAX_LENGTH} are read")
    if not where.strip():
        raise FilterError(f"the condition is empty; expected for example: {_EXAMPLE}")
    if "\0" in where or any("\ud800" <= letter <= "\udfff" for letter in where):
        raise FilterError("the condition holds a character that no text has (NUL or a half pair)")
    try:
        condition: Condition = _parser().parse(where)  # type: ignore[assignment]
    except UnexpectedInput as error:
        _syntax_error(where, error)
    return condition


def _test(column: str, kind: str, template: str, values: Iterable[Value] = ()) -> _Test:
    return _Test(1, 1, column, kind, f"({template})", tuple(values))


@v_args(inline=True)
class _Build(Transformer):  # type: ignore[type-arg]
    """Makes conditions from the bottom up while parsing, so nothing recurses into the text."""

    def any_of(self, *parts: Condition) -> Condition:
        return _joined("OR", parts)

    def all_of(self, *parts: Condition) -> Condition:
        return _joined("AND", parts)

    def negated(self, part: Condition) -> Condition:
        return _Negated(part.tests, _deeper((part,)), part)

    def compare(self, column: str, operator: str, value: Value) -> Condition:
        if column in IDENTIFIERS and _OPERATORS[operator] in ("=", "<>"):
            return self.within(column, (value,), "IN" if _OPERATORS[operator] == "=" else "NOT IN")
        return _test(column, _kind(value), f"{{}} {_OPERATORS[operator]} ?", [value])

    def within(self, column: str, values: tuple[Value, ...], word: str = "IN") -> Condition:
        return _test(column, _one_kind(values), f"{{}} {word} ({{marks}})", values)

    def not_within(self, column: str, values: tuple[Value, ...]) -> Condition:
        return self.within(column, values, "NOT IN")

    def between(self, column: str, low: Value, high: Value, word: str = "BETWEEN") -> Condition:
        return _test(column, _one_kind((low, high)), f"{{}} {word} ? AND ?", [low, high])

    def not_between(self, column: str, low: Value, high: Value) -> Condition:
        return self.between(column, low, high, "NOT BETWEEN")

    def like(self, column: str, pattern: str) -> Condition:
        return _test(column, "text", "{} LIKE ?", [pattern])

    def not_like(self, column: str, pattern: str) -> Condition:
        return _test(column, "text", "{} NOT LIKE ?", [pattern])

    def has(self, column: str, finding: str) -> Condition:
        found = "SELECT 1 FROM case_findings AS f WHERE f.case_id = c.id AND f.finding = ?"
        return _test(column, "set", f"CASE WHEN {{}} THEN EXISTS ({found}) END", [finding])

    def is_null(self, column: str) -> Condition:
        return _test(column, "any", "{} IS NULL")

    def is_not_null(self, column: str) -> Condition:
        return _test(column, "any", "{} IS NOT NULL")

    def is_empty(self, column: str) -> Condition:
        found = "SELECT 1 FROM case_findings AS f WHERE f.case_id = c.id"
        return _test(column, "set", f"CASE WHEN {{}} THEN NOT EXISTS ({found}) END")

    def is_not_empty(self, column: str) -> Condition:
        found = "SELECT 1 FROM case_findings AS f WHERE f.case_id = c.id"
        return _test(column, "set", f"CASE WHEN {{}} THEN EXISTS ({found}) END")

    def list(self, *values: Value) -> tuple[Value, ...]:
        return values

    def column(self, name: str) -> str:
        return _unquoted(name) if name.startswith('"') else str(name)

    def string(self, text: str) -> str:
        return _unquoted(text)

    def number(self, text: str) -> Value:
        whole = text.lstrip("+-").isdecimal() and len(text) <= 18  # fits SQLite's 64 bits
        return int(text) if whole else float(text)


@functools.cache
def _parser() -> Lark:
    return Lark.open("filter.lark", rel_to=__file__, parser="lalr", start="any_of", transformer=_Build())


def _unquoted(text: str) -> str:
    quote = text[0]
    return str(text[1:-1]).replace(quote * 2, quote)


def _joined(word: str, parts: tuple[Condition, ...]) -> Condition:
    tests = sum(part.tests for part in parts)
    if tests > MAX_TESTS:
        raise FilterError(f"the condition has more than {MAX_TESTS} comparisons; use a shorter one")
    return _Joined(tests, _deeper(parts), word, parts)


def _deeper(parts: tuple[Condition, ...]) -> int:
    depth = max(part.depth for part in parts) + 1
    if depth > MAX_DEPTH:
        raise FilterError(f"the condition is nested more than {MAX_DEPTH} deep; use a flatter one")
    return depth


def _kind(value: Value) -> str:
    return "text" if isinstance(value, str) else "number"


def _one_kind(values: tuple[Value, ...]) -> str:
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        raise FilterError("numbers and texts are mixed in one list or range; use one kind")
    return kinds.pop()


def _kinds(column: str, columns: Columns, hidden: Collection[str]) -> Collection[str]:
    kinds = CANONICAL.get(column) or columns.get(column)
    if kinds and column not in hidden:
        return kinds
    names = [*CANONICAL, *sorted(set(columns) - set(CANONICAL))]
    names = [name for name in names if name not in hidden]
    by_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(column.lower(), by_lower, n=1)
    guess = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    raise FilterError(f"unknown column {column!r}; {guess}This archive has: {', '.join(names)}")


def _check_kind(column: str, kinds: Collection[str], kind: str, values: tuple[Value, ...]) -> None:
    if kind in kinds:
        return
    if "set" in kinds:
        raise FilterError(
            f"{column} is a set of labels; write: findings has 'D', findings is empty, or findings is null"
        )
    if kind == "set":
        raise FilterError(f"'has' and 'is empty' are for findings; {column} is one {_list(kinds)}")
    hint = "put it in quotes" if kind == "number" else "write it without quotes"
    raise FilterError(f"{column} is a {_list(kinds)}, but {values[0]!r} is a {kind}; {hint}, if that is meant")


def _list(kinds: Collection[str]) -> str:
    return " or ".join(sorted(kinds))


def _check_eye(template: str, values: tuple[Value, ...]) -> None:
    """A misspelt eye would silently find nothing."""
    for value in values:
        if "LIKE" not in template and value not in ("left", "right"):
            raise FilterError(f"eye is 'left' or 'right', not {value!r}")


def _expression(column: str, kind: str, kinds: Collection[str]) -> Sql:
    """The column as SQL, NULL where its value is of another kind than asked for."""
    if column == "findings":
        return ("nullif(c.looked, 0)", [])
    if column in CANONICAL:
        name = f"c.{column}"
        if kind == "any" or len(kinds) == 1:
            return name, []
        return f"CASE WHEN typeof({name}) IN ({_TYPES[kind]}) THEN {name} END", []
    typed = f" AND e.type IN ({_TYPES[kind]})" if kind in _TYPES else ""
    return f"(SELECT e.value FROM json_each(c.extra) AS e WHERE e.key = ?{typed})", [column]  # noqa: S608


_WORDS = {
    "OP": "a comparison such as = or >=",
    "NAME": "a column",
    "STRING": "a text in single quotes",
    "NUMBER": "a number",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "$END": "the end",
}


def _syntax_error(where: str, error: UnexpectedInput) -> NoReturn:
    allowed: Iterable[str] = ()
    position, found = len(where), "the end"
    if isinstance(error, UnexpectedCharacters):
        allowed, position = error.allowed or (), error.pos_in_stream or 0
        found = repr(where[position])
    elif isinstance(error, UnexpectedToken):
        allowed = error.accepts or error.expected
        if error.token.type != "$END":
            position, found = error.token.start_pos or 0, repr(str(error.token)[:40])
    elif isinstance(error, UnexpectedEOF):
        allowed = error.expected
    # LALR has nothing left to expect where a complete condition goes on.
    allowed = set(allowed) or {"_AND", "_OR", "$END"}
    names = sorted({_WORDS.get(name, name.strip("_").lower()) for name in allowed if name != "QUOTED"})
    hint = ""
    if "STRING" in allowed and found != "the end":
        hint = "; a text is written in single quotes, 'left'"
    raise FilterError(
        f"can't read the condition at character {position + 1}: found {found}, expected "
        f"{', '.join(names)}{hint}. Example: {_EXAMPLE}"
    ) from None
