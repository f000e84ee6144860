"""Settings from TOML: what is taken, what is refused, and with which sentence."""

import math
import re
import tomllib
from dataclasses import dataclass, field
from typing import Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from foveola.config import from_mapping, load_config, to_mapping
from foveola.errors import ConfigError


@dataclass(frozen=True)
class Model:
    """A table within the file."""

    width: int = 64
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Stage:
    """One of a list of tables."""

    epochs: int
    note: str | None = None


@dataclass(frozen=True)
class Plan:
    """Every kind of setting there is."""

    name: str
    seed: int = 0
    rate: float = 0.1
    mirror: bool = False
    eye: Literal["left", "right"] = "left"
    level: Literal[1, 2] = 1
    limit: int | None = None
    tags: tuple[str, ...] = ()
    model: Model = field(default_factory=Model)
    teacher: Model | None = None
    stages: tuple[Stage, ...] = ()

    def __post_init__(self):
        """Refuse a seed that no generator takes."""
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


def read(text):
    return from_mapping(Plan, tomllib.loads(text), where="plan.toml")


def refused(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_every_kind_of_setting_is_read():
    plan = read(
        """
        name = "a"
        seed = 3
        rate = 2
        mirror = true
        eye = "right"
        level = 2
        limit = 5
        tags = ["x", "y"]
        [model]
        width = 32
        mean = [0, 0.25, 1]
        [teacher]
        [[stages]]
        epochs = 1
        [[stages]]
        epochs = 2
        note = "slow"
        """
    )
    assert plan == Plan(
        name="a",
        seed=3,
        rate=2.0,
        mirror=True,
        eye="right",
        level=2,
        limit=5,
        tags=("x", "y"),
        model=Model(width=32, mean=(0.0, 0.25, 1.0)),
        teacher=Model(),
        stages=(Stage(1), Stage(2, "slow")),
    )
    assert type(plan.rate) is float  # 2 == 2.0, but a float setting is a float
    assert [type(number) for number in plan.model.mean] == [float] * 3


def test_what_is_not_said_keeps_its_default():
    assert read("name = 'a'") == Plan(name="a")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nam = 'a'", "plan.toml: unknown key 'nam'; did you mean 'name'?"),
        ("seed = 1", "plan.toml: the key 'name' is missing"),
        ("name = 1", "plan.toml: name: expected str, got 1"),
        ("name = ''\nseed = '1'", "plan.toml: seed: expected int, got '1'"),
        ("name = ''\nseed = 1.0", "plan.toml: seed: expected int, got 1.0"),
        ("name = ''\nseed = true", "plan.toml: seed: expected int, got True"),
        ("name = ''\nrate = true", "plan.toml: rate: expected float, got True"),
        ("name = ''\nrate = '1'", "plan.toml: rate: expected float, got '1'"),
        ("name = ''\nrate = nan", "plan.toml: rate: expected a finite number, got nan"),
        ("name = ''\nrate = -inf", "plan.toml: rate: expected a finite number, got -inf"),
        ("name = ''\nmirror = 1", "plan.toml: mirror: expected bool, got 1"),
        ("name = ''\neye = 'OD'", "plan.toml: eye: expected 'left' or 'right', got 'OD'"),
        ("name = ''\neye = ['left']", "plan.toml: eye: expected 'left' or 'right', got ['left']"),
        ("name = ''\nlevel = true", "plan.toml: level: expected 1 or 2, got True"),
        ("name = ''\nlevel = 1.0", "plan.toml: level: expected 1 or 2, got 1.0"),
        ("name = ''\nlimit = 'a'", "plan.toml: limit: expected int, got 'a'"),
        ("name = ''\ntags = 'x'", "plan.toml: tags: expected a list, got 'x'"),
        ("name = ''\ntags = ['x', 1]", "plan.toml: tags: expected str, got 1"),
        ("name = ''\nmodel = 3", "plan.toml: model: expected a table, got 3"),
        ("name = ''\nmodel.widht = 3", "plan.toml: model: unknown key 'widht'; did you mean 'width'?"),
        ("name = ''\nmodel.width = 'w'", "plan.toml: model: width: expected int, got 'w'"),
        ("name = ''\nmodel.mean = [1, 2]", "plan.toml: model: mean: expected a list of 3, got [1, 2]"),
        ("name = ''\nstages = [{}]", "plan.toml: stages: the key 'epochs' is missing"),
        ("name = ''\nseed = -1", "plan.toml: seed must not be negative, got -1"),
        ("name = ''\nseed = 2024-01-01", "plan.toml: seed: expected int, got datetime.date(2024, 1, 1)"),
    ],
)
def test_a_refusal_says_where_what_and_what_was_expected(text, sentence):
    assert refused(text) == sentence


def test_a_key_like_no_other_gets_the_whole_list():
    message = refused("name = ''\nmodel.zzz = 1")
    assert message == "plan.toml: model: unknown key 'zzz'; expected one of mean, width"


def test_an_integer_beyond_every_float_is_refused():
    huge = 10**400
    with pytest.raises(ConfigError, match=r"x: rate: expected a finite number"):
        from_mapping(Plan, {"name": "", "rate": huge}, where="x")


def test_none_means_unset_where_it_may_be_unset():
    # JSON has null; TOML can't write it
    assert from_mapping(Plan, {"name": "", "limit": None}, where="x").limit is None
    with pytest.raises(ConfigError, match=r"^x: seed: expected int, got None$"):
        from_mapping(Plan, {"name": "", "seed": None}, where="x")


@dataclass
class OneOfTwo:
    """A setting that could be either."""

    value: int | str = 0


@dataclass
class Loose:
    """A setting without a shape."""

    value: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize("cls", [OneOfTwo, Loose])
def test_a_field_of_a_type_that_no_setting_has_is_the_programmers_error(cls):
    with pytest.raises(ValueError, match=r"^x: value: a setting "):
        from_mapping(cls, {"value": 1}, where="x")


def test_only_a_dataclass_can_be_read():
    with pytest.raises(ValueError, match="expected a dataclass, got <class 'int'>"):
        from_mapping(int, {}, where="x")


def test_a_file_is_read_with_or_without_the_mark_that_windows_puts_first(tmp_path):
    plain, marked = tmp_path / "a.toml", tmp_path / "b.toml"
    text = "name = 'Öhr'\r\nseed = 2\r\n"
    plain.write_bytes(text.encode())
    marked.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_config(plain, Plan) == load_config(marked, Plan) == Plan(name="Öhr", seed=2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = ", "is not valid TOML: Invalid value"),
        (b"name = 'a'\nname = 'b'", "is not valid TOML: Cannot overwrite a value"),
        (b"name = '\xff'", "can't be read: UnicodeDecodeError"),
        (b"seed = " + b"9" * 5000, "is not valid TOML: "),
        (b"tags = " + b"[" * 100_000, "is not valid TOML: "),
        (b"nam = 'a'", ": unknown key 'nam'; did you mean 'name'?"),
    ],
    ids=["half", "twice", "latin", "digits", "deep", "key"],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}.*{re.escape(sentence)}"):
        load_config(path, Plan)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"plan\.toml: no such file; expected a TOML config"):
        load_config(tmp_path / "plan.toml", Plan)
    with pytest.raises(ConfigError, match="can't be read: IsADirectoryError"):
        load_config(tmp_path, Plan)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MODELS = st.builds(Model, width=st.integers(-9, 9), mean=st.tuples(NUMBERS, NUMBERS, NUMBERS))
# TOML integers have 64 bits; a surrogate is no text
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLANS = st.builds(
    Plan,
    name=TEXT,
    seed=st.integers(0, 2**63 - 1),
    rate=NUMBERS,
    mirror=st.booleans(),
    eye=st.sampled_from(["left", "right"]),
    level=st.sampled_from([1, 2]),
    limit=st.none() | st.integers(0, 9),
    tags=st.lists(TEXT).map(tuple),
    model=MODELS,
    teacher=st.none() | MODELS,
    stages=st.lists(st.builds(Stage, st.integers(0, 9), st.none() | TEXT)).map(tuple),
)


@given(PLANS)
def test_a_plan_comes_back_from_toml_as_it_was(plan):
    assert read(tomli_w.dumps(to_mapping(plan))) == plan


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


def attempt(values):
    try:
        return from_mapping(Plan, values, where="x")
    except ConfigError as error:
        return str(error)


@given(st.dictionaries(st.sampled_from(list(Plan.__annotations__)) | TEXT, JSON))
def test_whatever_is_given_gets_a_plan_or_a_config_error(values):
    outcome = attempt(values)
    if isinstance(outcome, str):
        assert outcome.startswith("x: ")
    else:
        assert outcome.seed >= 0
        assert math.isfinite(outcome.rate)
