"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
WITH = sorted(path for path in (SOURCE / "foveola").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH, ids=lambda path: path.relative_to(SOURCE / "foveola").as_posix())
def test_the_examples_of_a_module_run(path):
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (failed, tried > 0) == (0, True)


def test_about_sixty_public_names_have_an_example():
    count = 0
    for path in WITH:
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
        count += sum(1 for each in found if each.examples)
    assert count >= 55
