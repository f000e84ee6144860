"""What holds for the project as a whole: imports, public names, installation, contents."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import foveola
from skips import needs

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

TRAINERS = ("models", "losses", "training")
TRAINING_LIBRARIES = (
    "lightning",
    "pytorch_lightning",
    "pytorch_metric_learning",
    "safetensors",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
)
# `foveola search` starts these, and pandas alone would take as long as the search
QUICK = ("archive", "cli", "encoders", "images", "retrieval")


def modules():
    """Dotted names of all modules but __main__, which would run the program."""
    for path in sorted((SOURCE / "foveola").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] != "__main__":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part(module):
    return module.removeprefix("foveola").removeprefix(".").partition(".")[0]


def python(program, *arguments):
    """What a fresh interpreter prints, read as JSON."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CONVERTER = """
import json
import foveola.cli.commands
from openvino.tools.ovc import convert_impl, telemetry_utils
print(json.dumps(sorted({part.tm.__name__ for part in (convert_impl, telemetry_utils)})))
"""


def test_a_command_reports_nothing_to_the_maker_of_a_library():
    assert python(CONVERTER) == ["openvino.tools.ovc.telemetry_stub"]


IMPORT_WITHOUT = """
import importlib, json, sys
absent, names = map(json.loads, sys.argv[1:])
sys.modules.update(dict.fromkeys(absent))  # an import of None raises ModuleNotFoundError
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""


def import_without(absent, names):
    return python(IMPORT_WITHOUT, json.dumps(absent), json.dumps(names))


def test_everything_that_serves_can_be_imported_where_torch_is_absent():
    serving = [name for name in modules() if part(name) not in TRAINERS]
    assert {"foveola", "foveola.archive", "foveola.cli"} <= set(serving)
    assert import_without(TRAINING_LIBRARIES, serving) == {}


def test_the_absence_of_torch_is_felt_by_what_trains():
    failed = import_without(["torch"], ["foveola.training.data"])
    assert "torch" in failed["foveola.training.data"]


WHO_LOADS = """
import importlib, json, sys
library, *names = json.loads(sys.argv[1])
for name in names:
    importlib.import_module(name)
    if library in sys.modules:
        break
else:
    name = None
print(json.dumps(name))
"""


def test_a_search_starts_without_pandas():
    quick = [name for name in modules() if part(name) in QUICK]
    assert {part(name) for name in quick} == set(QUICK)
    assert python(WHO_LOADS, json.dumps(["pandas", *quick])) is None


def test_what_loads_a_library_is_named():
    names = ["foveola.errors", "pandas.api", "foveola.records"]
    assert python(WHO_LOADS, json.dumps(["pandas", *names])) == "pandas.api"


def test_public_names_are_sorted_and_there():
    names = foveola.__all__
    assert names
    assert list(names) == sorted(set(names))
    missing = [name for name in names if not hasattr(foveola, name)]
    assert missing == []


# Installation


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct_dependencies():
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    requirements = [Requirement(line) for group in groups for line in group]
    return {canonicalize_name(r.name): r for r in requirements if r.name != "foveola"}


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_each_dependency_has_a_lower_bound_and_a_newest_proven_version():
    upper = {canonicalize_name(r.name): r for r in constraints()}
    for name, requirement in direct_dependencies().items():
        assert [s.operator for s in requirement.specifier] == [">="], name
        (bound,) = upper[name].specifier
        assert bound.operator == "<=", name
        assert requirement.specifier.contains(bound.version), name


def test_constraints_name_no_source_and_no_local_version():
    for requirement in constraints():
        assert requirement.url is None
        assert "+" not in str(requirement.specifier)


def test_the_core_installs_without_the_training_libraries():
    core = {Requirement(line).name.replace("-", "_") for line in project()["dependencies"]}
    assert core.isdisjoint(TRAINING_LIBRARIES)
    train = {Requirement(line).name.replace("-", "_") for line in project()["optional-dependencies"]["train"]}
    assert {"torch", "timm", "lightning"} <= train


def run(command, folder):
    """Run without the settings of a `make test` that may have started these tests."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    return subprocess.run(command, cwd=folder, env=ours, capture_output=True, text=True, timeout=300)


needs_make = needs("make")


@pytest.fixture
def house(tmp_path):
    """The Makefile in a folder with a blank in its name, and a way to run it there."""
    folder = tmp_path / "a house"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)

    def make(*arguments):
        return run(["make", "--no-print-directory", *arguments], folder)

    return make


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@needs_make
def test_make_alone_lists_what_it_can_do(house):
    listed = re.findall(r"^  make (\w+)", house().stdout, re.MULTILINE)
    assert {"demo", "test", "check", "clean", "help"} <= set(listed)


# our interpreter, which says that it is older
OLD = f"""[ "$1" = -V ] && echo Python 3.10.9 && exit
exec '{sys.executable}' -c 'import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])' "$2\""""


@needs_make
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "is not installed; Foveola needs Python 3.11 or newer."),
        (OLD, "is Python 3.10.9; Foveola needs Python 3.11 or newer."),
        ('case "$2" in *ensurepip*) exit 1;; esac', "lacks the venv module."),
    ],
    ids=["missing", "old", "bare"],
)
def test_make_says_what_is_wrong_with_a_python(house, tmp_path, script, sentence):
    interpreter = tmp_path / "python"
    if script:
        program(interpreter, script)
    done = house("demo", f"PYTHON={interpreter}")
    assert done.returncode != 0
    assert f"{interpreter} {sentence}" in done.stderr


@needs_make
def test_the_demo_never_asks_for_the_training_libraries(house):
    assert "[dev]" not in house("-n", "demo").stdout
    assert "[dev]" in house("-n", "test").stdout


APT = """
echo "$@" >> {log}
case "$*" in *absent*) exit 100;; esac
"""


@pytest.fixture
def ci(tmp_path):
    """`.ci/run` in a folder whose tests need these packages, and what it asked apt-get for."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    log = tmp_path / "asked"
    program(tmp_path / "bin" / "apt-get", APT.format(log=log))

    def start(missing="", user=0, status=0, docs=0):
        (tmp_path / "tests" / "programs.py").write_text(f"print({missing!r})")
        program(tmp_path / "bin" / "id", f"echo {user}")
        program(tmp_path / "bin" / "sudo", "exit 1")
        (tmp_path / "Makefile").write_text(f"test:\n\t@touch ran; exit {status}\ndocs: test\n\t@exit {docs}\n")
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = run(["env", f"PATH={path}", tmp_path / ".ci" / "run"], "/")
        assert (tmp_path / "ran").exists(), done.stderr
        asked = log.read_text().splitlines() if log.exists() else []
        return done, [line.split()[-1] for line in asked]

    return start


@needs_make
@pytest.mark.parametrize(("status", "docs"), [(0, 0), (3, 0), (0, 3)])
def test_continuous_integration_fails_when_make_test_or_make_docs_fails(ci, status, docs):
    done, asked = ci(status=status, docs=docs)
    assert (done.returncode == 0) == (status == docs == 0)
    assert asked == []  # nothing is missing, so nothing is waited for


@needs_make
def test_continuous_integration_installs_what_tests_need_and_goes_on_without(ci):
    done, asked = ci(missing="nginx absent dcmtk")
    assert done.returncode == 0
    assert asked == ["update", "nginx", "absent", "dcmtk"]
    assert "absent could not be installed" in done.stderr


@needs_make
def test_continuous_integration_installs_nothing_where_it_may_not(ci):
    done, asked = ci(missing="nginx", user=1000)
    assert (done.returncode, asked) == (0, [])


# Contents


def tracked():
    """Files that git tracks and that are there."""
    command = ["git", "ls-files", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: what is tracked can't be told")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert files
    return [path for path in files if path.is_file()]


def test_no_tracked_file_is_large():
    large = [str(path) for path in tracked() if path.stat().st_size > 12_000_000]
    assert large == []


def test_no_real_photograph_is_part_of_the_project(shared_data):
    foreign = {digest(path) for path in shared_data.rglob("*") if path.is_file()}
    assert len(foreign) > 1000  # the folder was read
    empty = hashlib.sha256(b"").hexdigest()
    copied = [str(path) for path in tracked() if digest(path) in foreign - {empty}]
    assert copied == []


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Written so that this file does not match itself.
FOREIGN = re.compile(
    r"files\.pythonhosted|pypi\.org/simple|pypi\.python\.org|download\.pytorch\.org"
    r"|extra-index-ur[l]|find-link[s]"
    r"|(?<![\w.~-])/(?:work|root|tmp/plan|opt/pypi|opt/wheels)/"
)


def test_no_tracked_text_names_a_registry_or_a_place_on_one_machine():
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a model
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "names_one"),
    [
        ("see /wor" + "k/main", True),
        ("file:///roo" + "t/x", True),
        ("https://pypi.org" + "/simple/torch", True),
        ("https://files" + ".pythonhosted.org/a", True),
        ("../wor" + "k/main", False),
        ("https://pypi.org" + "/project/foveola", False),
        ("networks/root/mean", False),
    ],
)
def test_a_planted_place_is_found_and_a_harmless_one_is_not(text, names_one):
    assert bool(FOREIGN.search(text)) == names_one
