import contextlib
import operator
import re
import sqlite3
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foveola.archive import schema
from foveola.archive.filters import MAX_DEPTH, MAX_LENGTH, MAX_TESTS, parse
from foveola.errors import FilterError
from foveola.records import Case

COLUMNS = {"age": {"number"}, "camera model": {"text"}, "mixed": {"number", "text"}}


def run(cases, where):
    """Indices of the cases that meet the condition, by SQLite."""
    db = sqlite3.connect(":memory:")
    db.executescript(schema.SCHEMA)
    for case in cases:
        schema.put_record(db, schema.record_of(case), None)
    columns = {}
    for name, kind in db.execute("SELECT name, kind FROM columns"):
        columns.setdefault(name, set()).add(kind)
    sql, values = parse(where).sql(COLUMNS | columns)
    rows = db.execute(f"SELECT c.id FROM cases AS c WHERE {sql} ORDER BY c.id", values).fetchall()
    db.close()
    return [row[0] - 1 for row in rows]


def some_case(i=0, **record):
    return Case(image=f"{i}.jpg", path=f"/data/{i}.jpg", **record)


CASES = [
    some_case(0, grade=0, eye="left", findings=frozenset(), visit=0.0, extra={"age": 40}),
    some_case(1, grade=2, eye="right", findings=frozenset("DG"), visit=12, extra={"age": 61.5}),
    some_case(2, grade=4, eye="left", findings=frozenset("D"), visit="2021-03-04", subject="7"),
    some_case(3, extra={"camera model": "Topcon NW8", "mixed": "61"}),
    some_case(4, subject="o'neil", collection="B", extra={"mixed": 61, "and": "x"}),
]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("grade >= 2", [1, 2]),
        ("GRADE>=2 AND eye='left'".replace("GRADE", "grade"), [2]),
        ("grade = 0 or grade = 4", [0, 2]),
        ("grade == 2", [1]),
        ("grade != 2", [0, 2]),  # not 3 and 4, whose grade is unknown
        ("grade <> 2.0", [0, 2]),
        ("not grade = 2", [0, 2]),
        ("not (grade >= 2)", [0]),
        ("not not grade = 2", [1]),
        ("grade is null", [3, 4]),
        ("grade is not null", [0, 1, 2]),
        ("grade >= 2 or grade is null", [1, 2, 3, 4]),
        ("grade < +1e0", [0]),
        ("grade > -.5", [0, 1, 2]),
        ("grade between 1 and 3 and eye = 'right'", [1]),
        ("grade not between 1 and 3", [0, 2]),
        ("grade in (0, 4, 9)", [0, 2]),
        ("grade not in (0, 4)", [1]),
        ("eye in ('left')", [0, 2]),
        # `and` binds closer than `or`, `not` closer than both
        ("grade = 0 or grade = 2 and eye = 'left'", [0]),
        ("(grade = 0 or grade = 2) and eye = 'right'", [1]),
        ("not grade = 0 and grade <= 2", [1]),
        ("findings has 'D'", [1, 2]),
        ("not findings has 'G'", [0, 2]),  # nobody looked at 3 and 4
        ("findings has 'd'", []),
        ("findings is empty", [0]),
        ("findings is not empty", [1, 2]),
        ("findings is null", [3, 4]),
        ("findings is not null", [0, 1, 2]),
        ("visit >= 6", [1]),
        ("visit >= '2021-01-01'", [2]),
        ("visit < '2021-01-01'", []),
        ("visit != 0", [1]),  # a date is no number, so neither equal nor different
        ("visit is null", [3, 4]),
        ("age > 50", [1]),
        ("age between 40 and 61.5", [0, 1]),
        ("age is null", [2, 3, 4]),
        ("\"camera model\" like 'topcon%'", [3]),
        ("\"camera model\" not like 'Kowa%'", [3]),
        ("image like '_.jpg'", [0, 1, 2, 3, 4]),
        ("path like '%/3.%'", [3]),
        ("mixed = 61", [4]),
        ("mixed = '61'", [3]),
        ("mixed is not null", [3, 4]),
        ("mixed in (60, 61)", [4]),
        ("subject = '7'", [2]),
        ("subject = 'o''neil'", [4]),
        ("collection = ''", [0, 1, 2, 3]),
        ("\"and\" = 'x'", [4]),
        ('"age" = 40', [0]),
        ("\n grade\t=\n2 ", [1]),
    ],
)
def test_a_condition_finds_what_it_says(where, expected):
    assert run(CASES, where) == expected


# Random conditions against a slow interpreter with three values

texts = st.sampled_from(["", "a", "B", "ab", "a%", "_", "'", '"', "é", "2021-03-04", "10", "left"])
numbers = st.sampled_from([-1, 0, 1, 2, 3, 4, 0.5, 2.0, 61, 2**53, -(10**17), 1e300])
column_names = ["age", "camera model", "mixed", 'q"uote', "naïve", "x' or '1'='1", "$.a", "[0]"]
random_cases = st.lists(
    st.builds(
        some_case,
        grade=st.none() | st.integers(0, 4),
        eye=st.sampled_from([None, "left", "right"]),
        subject=st.none() | texts,
        visit=st.none() | texts | numbers,
        findings=st.none() | st.frozensets(st.sampled_from(["D", "G", "it's"])),
        collection=texts,
        extra=st.dictionaries(st.sampled_from(column_names), texts | numbers, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


def value_of(case, column):
    if column in ("grade", "eye", "subject", "visit", "collection"):
        return getattr(case, column)
    return case.extra.get(column)


def same_kind(value, other):
    return value is not None and isinstance(value, str) == isinstance(other, str)


COMPARISONS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def quoted(value):
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def named(column):
    return column if column.isascii() and column.isalnum() else '"' + column.replace('"', '""') + '"'


@st.composite
def random_tests(draw):
    """A comparison as text, and what it means: case -> True, False or None."""
    column = draw(st.sampled_from(["grade", "subject", "visit", "collection", *column_names]))
    kinds = {"grade": numbers, "subject": texts, "collection": texts}
    one = draw(st.sampled_from([kinds[column]] if column in kinds else [texts, numbers]))
    shape = draw(st.sampled_from(["compare", "in", "between", "null", "like", "has", "empty"]))
    negative = draw(st.booleans())
    word = "not " if negative else ""

    def judged(judge):
        def meaning(case):
            truth = judge(case)
            return None if truth is None else truth != negative

        return meaning

    name = named(column)
    if shape == "has":
        finding = draw(st.sampled_from(["D", "it's", "x"]))
        return f"{word}findings has {quoted(finding)}", judged(
            lambda c: None if c.findings is None else finding in c.findings
        )
    if shape == "empty":
        return f"findings is {word}empty", judged(lambda c: None if c.findings is None else not c.findings)
    if shape == "null":
        return f"{name} is {word}null", judged(lambda c: value_of(c, column) is None)
    if shape == "like":
        if column == "grade":
            name, column = "subject", "subject"
        pattern = draw(texts)
        regex = "".join({"%": ".*", "_": "."}.get(x, re.escape(x)) for x in pattern)

        def like(case):
            value = value_of(case, column)
            if not isinstance(value, str):
                return None
            return re.fullmatch(regex, value, re.IGNORECASE | re.DOTALL) is not None

        return f"{name} {word}like {quoted(pattern)}", judged(like)
    if shape == "in":
        values = draw(st.lists(one, min_size=1, max_size=4))
        listed = ", ".join(map(quoted, values))
        return f"{name} {word}in ({listed})", judged(
            lambda c: value_of(c, column) in values if same_kind(value_of(c, column), values[0]) else None
        )
    low, high = draw(one), draw(one)
    if shape == "between":
        return f"{name} {word}between {quoted(low)} and {quoted(high)}", judged(
            lambda c: low <= value_of(c, column) <= high if same_kind(value_of(c, column), low) else None
        )
    sign = draw(st.sampled_from(sorted(COMPARISONS)))
    return f"{word}{name} {sign} {quoted(low)}", judged(
        lambda c: COMPARISONS[sign](value_of(c, column), low) if same_kind(value_of(c, column), low) else None
    )


def both(parts):
    text = " and ".join(f"({t})" for t, _ in parts)
    return text, lambda c: lowest([meaning(c) for _, meaning in parts])


def either(parts):
    text = " or ".join(f"({t})" for t, _ in parts)
    return text, lambda c: opposite(lowest([opposite(meaning(c)) for _, meaning in parts]))


def lowest(truths):
    return False if False in truths else None if None in truths else True


def opposite(truth):
    return None if truth is None else not truth


conditions = st.recursive(
    random_tests(),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(both)
        | st.lists(inner, min_size=2, max_size=3).map(either)
        | inner.map(lambda part: (f"not ({part[0]})", lambda c: opposite(part[1](c))))
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(random_cases, conditions)
def test_sql_agrees_with_a_slow_interpreter(cases, condition):
    where, meaning = condition
    cases = [some_case(i, **unnamed(case)) for i, case in enumerate(cases)]
    # Cases of every kind in every column, so that no comparison is refused.
    cases += [some_case(90, extra=dict.fromkeys(column_names, 5), visit=5)]
    cases += [some_case(91, extra=dict.fromkeys(column_names, "five"), visit="five")]
    assert run(cases, where) == [i for i, case in enumerate(cases) if meaning(case) is True]


def unnamed(case):
    names = ("grade", "eye", "subject", "visit", "findings", "collection", "extra")
    return {name: getattr(case, name) for name in names}


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40) | st.text(alphabet="grade()'\"=<>!, andornt0123%;-", max_size=60))
@example("grade = 1; DROP TABLE cases")
@example("grade = 1 -- comment")
@example("grade = 1 /* */")
@example("1 = 1")
@example("(select 1)")
@example("grade = (select 1)")
@example("grade = ?")
@example("grade = :a")
@example("randomblob(1000000000)")
def test_any_text_is_a_condition_or_a_filter_error(text):
    with contextlib.suppress(FilterError):  # and nothing else, least of all from SQLite
        run(CASES, text)


INJECTIONS = [
    "' or 1=1 --",
    "'; DROP TABLE cases; --",
    "x' UNION SELECT value FROM meta --",
    '") or 1=1 --',
    "$.age",
    "{}",
    "{0.__class__}",
    "%s ? :a",
    "\\",
    "c.id",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injection_is_an_ordinary_value(text):
    assert run(CASES, f"subject = {quoted(text)}") == []
    guilty = [*CASES, some_case(5, subject=text, findings=frozenset([text]))]
    for where in ("subject = {}", "subject in ({})", "findings has {}"):
        assert run(guilty, where.format(quoted(text))) == [5]


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injection_is_an_ordinary_column_name(text):
    name = '"' + text.replace('"', '""') + '"'
    with pytest.raises(FilterError, match="unknown column"):
        run(CASES, f"{name} = 1")
    assert run([*CASES, some_case(5, extra={text: 1})], f"{name} = 1") == [5]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_letter_of_a_value_or_a_further_column_reaches_the_sql(text):
    name = '"' + text.replace('"', '""') + '"'
    sql, values = parse(f"{name} = {quoted(text)}").sql({text: {"text"}})
    assert values == [text, text]
    plain, _ = parse("\"w\" = 'w'").sql({"w": {"text"}})
    assert sql == plain


# What is refused, and how it is said


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "the condition is empty; expected for example: grade >= 2"),
        ("grade >= ", r"at character 10: found the end, expected a number, a text.*Example: grade"),
        ("grade 2", r"at character 7: found '2', expected a comparison"),
        ("eye = left", r"character 7: found 'left'.*single quotes, 'left'"),
        ('eye = "left"', r"character 7.*single quotes, 'left'"),
        ("eye = 'left", r"character 7"),
        ("(grade = 1", r"at character 11: found the end, expected '\)'"),
        ("grade = 1)", r"at character 10: found '\)', expected and, or, the end"),
        ("grade = 1 grade = 2", r"at character 11: found 'grade'"),
        ("grade = 1; drop table cases", r"at character 10: found ';'"),
        ("grade in ()", r"at character 11: found '\)'"),
        ("Grade = 1", r"unknown column 'Grade'; did you mean 'grade'\? This archive has: image, "),
        ("camera = 'x'", r"unknown column 'camera'; did you mean 'camera model'\?.*age, camera"),
        ("zzz = 1", r"unknown column 'zzz'; This archive has: image"),
        ("id = 1", "unknown column 'id'"),
        ("looked = 1", "unknown column 'looked'"),
        ("grade = '2'", "grade is a number, but '2' is a text; write it without quotes"),
        ("grade like '2%'", "grade is a number"),
        ("subject = 12", "subject is a text, but 12 is a number; put it in quotes"),
        ("age > 'old'", "age is a number, but 'old' is a text"),
        ('"camera model" between 1 and 2', "camera model is a text"),
        ("visit has 'D'", "'has' and 'is empty' are for findings; visit is one number or text"),
        ("age is empty", "are for findings"),
        ("findings = 'D'", "findings is a set of labels; write: findings has 'D'"),
        ("findings in ('D')", "findings is a set"),
        ("findings like 'D'", "findings is a set"),
        ("eye = 'lfet'", "eye is 'left' or 'right', not 'lfet'"),
        ("eye in ('left', 'OD')", "eye is 'left' or 'right', not 'OD'"),
        ("grade in (1, 'a')", "numbers and texts are mixed"),
        ("grade between 1 and 'a'", "numbers and texts are mixed"),
        ("subject = 'a\0'", "no text has"),
        ("subject = '\udce9'", "no text has"),
    ],
)
def test_a_fault_is_said_with_its_place_and_a_cure(where, message):
    with pytest.raises(FilterError, match=message):
        parse(where).sql(COLUMNS)


@pytest.mark.parametrize(
    "where",
    [
        "subject = '" + "x" * 1_000_000 + "'",
        "(" * 10_000 + "grade = 1" + ")" * 10_000,
        "(" * 4990,
        ")" * 9000,
        "not " * 2490 + "grade = 1",
        "not (" * (MAX_DEPTH + 1) + "grade = 1" + ")" * (MAX_DEPTH + 1),
        " or ".join(["grade=1"] * (MAX_TESTS + 1)),
        "a" * MAX_LENGTH,
        "'" * MAX_LENGTH,
        "grade=1 and " * 800,
    ],
)
def test_what_is_too_long_or_too_deep_is_refused_soon(where):
    begin = time.perf_counter()
    with pytest.raises(FilterError) as error:
        parse(where).sql(COLUMNS)
    assert len(str(error.value)) < 10_500
    assert time.perf_counter() - begin < 2


# Every level waits on the stack of SQLite's parser with "(", a finished half and its word.
DEEPEST = "mixed not in (1, 2)"
for level in range(MAX_DEPTH - 1):
    DEEPEST = f"grade = 1 {('and', 'or')[level % 2]} ({DEEPEST})"


@pytest.mark.parametrize(
    "where",
    [
        " or ".join(["grade=1"] * MAX_TESTS),
        "not " * (MAX_DEPTH - 1) + "findings has 'D'",
        DEEPEST,
        "(" * 4990 + "grade = 2" + ")" * 4990,
        "grade in (" + ",".join(["2"] * 4900) + ")",
        "grade = 2 and path like '" + "%" * 9000 + "'",
        "age < " + "9" * 9000,
        "age < 99999999999999999999",
        "age > -1e9999",
        " and ".join(["not not not (grade=1 or grade=2)"] * (MAX_TESTS // 2)),
    ],
)
def test_what_is_just_short_and_flat_enough_runs(where):
    begin = time.perf_counter()
    run(CASES, where)
    assert time.perf_counter() - begin < 2


def test_a_filter_works_on_an_archive_and_names_its_own_columns(clinic, vectors):
    query = vectors(6)[0]
    assert set(clinic.search(query, 9, where="age >= 40").ids.tolist()) == {4, 5}
    assert clinic.search(query, 9, where="  ").considered == 6
    with pytest.raises(FilterError, match=r"This archive has: .*age, camera model$"):
        clinic.search(query, 9, where="iop > 20")
    assert clinic.search(query, 9).considered == 6  # a fault leaves nothing open
