"""A public name is one thing, whoever asks for it first and whatever was imported before."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import foveola

# Each name is asked for in forks of an interpreter that has imported nothing of it yet, once for
# each way; and then again in every other way, with its home imported by somebody else meanwhile.
ASK = """
import importlib, json, os, sys
for library in ("cv2", "numpy", "openvino", "pandas", "PIL.Image"):  # so that no fork needs long
    importlib.import_module(library)
import foveola
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)

def attribute(name):
    return getattr(foveola, name)

def from_import(name):
    exec(f"from foveola import {name}", scope := {})
    return scope[name]

def home(name):
    return importlib.import_module(f"foveola.{foveola._HOME[name]}").__dict__[name]

def is_one(name, way):
    first = way(name)
    again = [ask(name) for ask in (way, home, attribute, from_import, way)]
    return callable(first) and all(each is first for each in again)

for name in foveola.__all__:
    for way in map(globals().get, sys.argv[2:]):
        if (child := os.fork()) == 0:
            os._exit(not is_one(name, way))
        print(json.dumps([name, os.waitpid(child, 0)[1] == 0]))
"""
EVERY = [f"foveola.{module.name}" for module in pkgutil.iter_modules(foveola.__path__) if module.name != "__main__"]


@pytest.mark.parametrize(
    ("before", "ways"),
    [([], ["attribute", "from_import"]), (EVERY, ["attribute"])],
    ids=["first", "after every submodule"],
)
def test_a_public_name_is_the_same_thing_each_time(before, ways):
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(before), *ways], capture_output=True, text=True, timeout=300, check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [[name, True] for name in foveola.__all__ for _ in ways], done.stderr


def packages():
    for module in pkgutil.walk_packages(foveola.__path__, "foveola."):
        if module.ispkg:
            yield module.name


@pytest.mark.parametrize("name", ["foveola", *packages()])
def test_no_submodule_has_the_name_of_what_its_package_gives_away(name):
    package = importlib.import_module(name)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert submodules.isdisjoint(getattr(package, "__all__", ()))
