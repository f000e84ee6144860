"""Imports run downward only, and torch stays in the three rooms that train."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# From the ground up. A name covers a module or a whole package; a part may import
# what lies on a floor below it and what lies inside itself, never a neighbour.
FLOORS = (
    ("errors", "records", "resources", "plain"),
    ("files", "notebook", "labels", "serial"),
    ("answers",),
    ("client",),
    ("models", "losses", "relevance"),
    ("images",),
    ("config", "datasets", "archive", "people"),
    ("metrics", "phantom", "encoders", "overview", "people_search", "trust"),
    ("learned", "looks", "laterality", "index"),
    ("training", "indexing", "retrieval", "assessment", "duplicates", "reading", "explain", "report"),
    ("matching", "regions"),
    ("server", "demo"),  # all that needs a network, an account, an audit log or a PACS
    ("__init__",),  # the public names of `import foveola`
    ("cli",),
    ("__main__",),
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}

TRAINERS = {"models", "losses", "training"}
TRAINING_LIBRARIES = {
    "lightning",
    "pytorch_lightning",
    "pytorch_metric_learning",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
}


class Import(NamedTuple):
    """One imported name as it stands in a file, made absolute."""

    target: str
    line: int
    lazy: bool  # inside a function, so not run when the module is imported


def faults(source: Path) -> list[str]:
    """What breaks the order of the floors under source/foveola, as "file:line: sentence"."""
    found = []
    for path in sorted((source / "foveola").rglob("*.py")):
        here = path.relative_to(source)
        part = _part(_module(here))
        if part not in FLOOR:
            found.append(f"{here}:1: {part!r} has no floor; give it one in FLOORS of tests/test_layers.py")
            continue
        for used in _imports(path, here, source):
            found += [f"{here}:{used.line}: {fault}" for fault in _judge(part, used)]
    return found


def _judge(part: str, used: Import) -> Iterator[str]:
    top = used.target.partition(".")[0]
    if top in TRAINING_LIBRARIES and part not in TRAINERS:
        yield f"{part} imports {top}; only {', '.join(sorted(TRAINERS))} may"
    if top != "foveola":
        return
    other = _part(used.target)
    if other not in FLOOR:
        yield f"{part} imports {other}, which has no floor or does not exist"
    elif other != part and FLOOR[other] >= FLOOR[part]:
        where = "beside" if FLOOR[other] == FLOOR[part] else "above"
        yield f"{part} imports {other}, which lies {where} it"
    elif other in TRAINERS and part not in TRAINERS and not used.lazy:
        yield f"{part} imports {other} outside a function, so it would need torch to start"


def _imports(path: Path, here: Path, source: Path) -> Iterator[Import]:
    """Every import of a file: in functions, under TYPE_CHECKING, relative, by importlib."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for target in _targets(node, here, source):
            yield Import(target, node.lineno, id(node) in lazy)


def _targets(node: ast.AST, here: Path, source: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _absolute(node, here)
        names = (_name(base, alias.name, source) for alias in node.names)
        return list(dict.fromkeys(names))  # two classes of one module are one fault
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                return [first.value]
    return []


def _absolute(node: ast.ImportFrom, here: Path) -> str:
    """The module of `from X import`, with the leading dots of X resolved."""
    if node.level == 0:
        return node.module or ""
    package = here.parent.parts[: len(here.parent.parts) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _name(base: str, name: str, source: Path) -> str:
    """`from foveola import archive` names a module, `from foveola.records import Case` does not."""
    folder = source.joinpath(*base.split("."))
    is_module = (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    return f"{base}.{name}" if is_module else base


def _module(here: Path) -> str:
    parts = here.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _part(module: str) -> str:
    """The room of a module: "foveola.archive.store" is in archive, "foveola" itself is __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_imports_run_downward_only():
    assert faults(SOURCE) == []


def test_the_check_reads_the_whole_tree():
    # an empty list of faults must not come from an empty list of files
    assert len(list((SOURCE / "foveola").rglob("*.py"))) > 15
    seen = [
        used.target
        for path in (SOURCE / "foveola").rglob("*.py")
        for used in _imports(path, path.relative_to(SOURCE), SOURCE)
    ]
    assert "foveola.errors" in seen
    assert "torch" in seen


def test_the_library_does_not_know_the_server():
    named = {
        path.relative_to(SOURCE).parts[1]
        for path in (SOURCE / "foveola").rglob("*.py")
        for used in _imports(path, path.relative_to(SOURCE), SOURCE)
        if used.target.startswith("foveola.server")
    }
    assert named == {"server", "cli"}


def test_no_part_stands_on_two_floors():
    assert sum(map(len, FLOORS)) == len(FLOOR)


def test_contributing_draws_the_same_floors():
    text = (SOURCE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (drawn,) = [block for block in text.split("```") if "\nerrors " in block]
    rows = [set(line.split()) & set(FLOOR) for line in drawn.strip().splitlines()]
    inner = [set(names) for names in FLOORS if not names[0].startswith("__")]
    assert rows[::-1] == inner


@pytest.fixture
def tree(tmp_path):
    """A small sound package, and a way to write into it."""

    def write(name, text):
        path = tmp_path / "foveola" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    write("__init__.py", "from foveola.archive import Archive\n")
    write("errors.py", "")
    write("records.py", "")
    write("archive/__init__.py", "from foveola.archive.store import Archive\n")
    write("archive/store.py", "from ..errors import FoveolaError\nimport sqlite3\nArchive = 1\n")
    write("images/__init__.py", "from foveola.errors import ImageError\n")
    write("models/__init__.py", "import torch\n")
    write("training/__init__.py", "import foveola.models\nfrom timm import create_model\n")
    write("retrieval.py", "from foveola import archive, images\n")
    write("cli.py", "from foveola import archive\ndef train():\n    import foveola.training\n")
    return write


def test_a_sound_tree_has_no_fault(tree):
    tree("training/data.py", "from foveola.training import card\n")
    assert faults(tree("archive/a.py", "from .store import Archive\nfrom . import store\n")) == []


PLANTED = {
    "as": ("archive/store.py", "\nimport foveola.cli as x\n", 2, "cli, which lies above it"),
    "from": ("records.py", "from foveola.retrieval import R, S\n", 1, "retrieval, which lies above"),
    "part of root": ("records.py", "from foveola import cli\n", 1, "cli, which lies above it"),
    "root": ("records.py", "\n\nfrom foveola import A\n", 3, "__init__, which lies above it"),
    "neighbour": ("datasets/a.py", "from foveola.archive import A\n", 1, "which lies beside it"),
    "neighbour file": ("records.py", "import foveola.errors\n", 1, "errors, which lies beside it"),
    "two dots": ("archive/a.py", "from ..datasets import b\n", 1, "datasets, which lies beside"),
    "only dots": ("archive/a.py", "from .. import cli\n", 1, "cli, which lies above it"),
    "three dots": ("archive/b/__init__.py", "from ...cli import a\n", 1, "cli, which lies above"),
    "function": ("records.py", "def f():\n    from foveola.cli import main\n", 2, "cli, which lies"),
    "type checking": ("records.py", "if TYPE_CHECKING:\n    from .cli import main\n", 2, "cli, which"),
    "try": ("records.py", "try:\n  import foveola.cli\nexcept E: ...\n", 2, "cli, which lies above"),
    "by name": ("records.py", "importlib.import_module('foveola.cli')\n", 1, "cli, which lies above"),
    "second of two": ("records.py", "import os, foveola.cli\n", 1, "cli, which lies above it"),
    "no floor": ("gossip/__init__.py", "", 1, "'gossip' has no floor; give it one in FLOORS of"),
    "unknown": ("cli.py", "import foveola.gossip\n", 1, "gossip, which has no floor"),
    "torch": ("images/a.py", "import torch.nn as nn\n", 1, "images imports torch; only losses, "),
    "lazy torch": ("cli.py", "def f():\n    from timm import a\n", 2, "cli imports timm; only"),
    "eager training": ("cli.py", "from foveola import training\n", 1, "need torch to start"),
    "eager models": ("encoders/a.py", "import foveola.models.b\n", 1, "need torch to start"),
}


@pytest.mark.parametrize(("file", "text", "line", "sentence"), PLANTED.values(), ids=PLANTED)
def test_a_planted_import_is_found_with_its_file_and_line(tree, file, text, line, sentence):
    (fault,) = faults(tree(file, text))
    assert fault.startswith(f"foveola/{file}:{line}: ")
    assert sentence in fault


def test_a_violation_planted_in_the_real_tree_is_found(tmp_path):
    for path in SOURCE.rglob("*.py"):
        copy = tmp_path / path.relative_to(SOURCE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    victim = tmp_path / "foveola" / "errors.py"
    text = victim.read_text(encoding="utf-8")
    victim.write_text(text + "import foveola.archive\n", encoding="utf-8")
    line = text.count("\n") + 1
    assert f"foveola/errors.py:{line}: errors imports archive, which lies above it" in faults(tmp_path)
