"""Every text that a page asks for is there, and none is there for nothing."""

import re
import tomllib
from pathlib import Path

import pytest

from foveola.server import texts as module
from foveola.server.texts import texts

FOLDER = Path(module.__file__).with_name("web")
# put together in a template: t("archive." ~ key) and the like
BUILT = {
    "archive": {"grades", "eyes", "findings", "collections", "cameras", "outcomes"},
    "filter": {"eye", "finding", "camera"},
    "case": {"subject", "eye", "visit", "age", "sex", "outcome"},
    "both": {"left", "right"},
    "marks": {"more", "less"},
    "order": {"looks", "both"},
    "audit": {"wrong", "right", "unsure"},
    "tabs": {"people", "right", "left", "reading"},
}


def used():
    sources = [*FOLDER.glob("templates/*.html"), *FOLDER.parent.rglob("*.py")]
    text = " ".join(path.read_text(encoding="utf-8") for path in sources)
    plain = re.findall(r"""\bt(?:exts\(\))?\(\s*["']([a-z_.]+[a-z_])["']""", text)
    return set(plain) | {f"{table}.{key}" for table, keys in BUILT.items() for key in keys}


def known():
    table = tomllib.loads((FOLDER / "en.toml").read_text(encoding="utf-8"))
    return {f"{name}.{key}" for name, texts in table.items() for key in texts}


def test_all_are_there():
    assert used() <= known(), used() - known()


def test_none_is_there_for_nothing():
    assert known() <= used(), known() - used()


def test_values_stand_where_they_belong():
    assert texts()("query.case", id=7) == "Case 7"
    with pytest.raises(KeyError):
        texts()("query.no_such_text")
