"""What is skipped is said in one line, and fails in continuous integration if it can be had."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import programs
from skips import NO_PHOTOGRAPHS, told

HERE = Path(__file__).parent
SKIPPING = f"""
import pytest
from skips import needs, need
import programs

def missing(name):
    return None

programs.find = missing

@needs("nginx", "openssl")
def test_a(): ...

@pytest.mark.parametrize("n", range(2))
def test_b(n):
    need("chromium")

def test_c():
    pytest.importorskip("no_such_library")

@pytest.mark.parametrize("n", range(3))
def test_d(n):
    pytest.skip({NO_PHOTOGRAPHS!r})

def test_e():
    pytest.skip("root may read everything")

@pytest.mark.xfail
def test_f():
    assert False

def test_g(): ...
"""
LINE = (
    "skipped 8: 3 need ../shared/data, 2 need chromium (apt install chromium), "
    "1 need nginx (apt install nginx), 1 need openssl (apt install openssl), "
    "1 need no_such_library (pip install 'foveola[dev]'), 1 can't be run here (-ra says why)"
)


def ran(folder, **environment):
    """The end of a run of pytest over tests that skip, with these hooks."""
    (folder / "test_it.py").write_text(SKIPPING)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "skips", "-c", "pytest.ini", "test_it.py"],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(HERE)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout


def test_one_line_says_what_was_skipped_and_how_to_have_it(tmp_path):
    out = ran(tmp_path)
    assert [line for line in out.splitlines() if line.startswith("skipped")] == [LINE]
    assert "1 passed, 8 skipped, 1 xfailed" in out


def test_what_can_be_installed_is_not_skipped_in_ci(tmp_path):
    out = ran(tmp_path, CI="true")
    assert "3 failed, 1 passed, 4 skipped, 1 xfailed, 1 error" in out  # "skipped" for good reasons
    assert "needs chromium (apt install chromium); with CI=true nothing may be missing" in out


def test_a_file_that_lacks_a_library_fails_in_ci(tmp_path):
    (tmp_path / "test_more.py").write_text("import pytest\npytest.importorskip('no_such_library')")
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-c", os.devnull, "test_more.py"]
    environment = os.environ | {"PYTHONPATH": str(HERE), "CI": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert "could not import 'no_such_library'" in done.stdout


def test_the_most_frequent_want_comes_first():
    reasons = [programs.without("dsrdump"), *[programs.without("Orthanc")] * 2]
    assert told(reasons) == (
        "skipped 3: 2 need Orthanc (apt install orthanc orthanc-dicomweb), 1 need dsrdump (apt install dcmtk)"
    )


def test_what_is_missing_is_listed_for_apt(tmp_path):
    command = [sys.executable, HERE / "programs.py"]
    environment = {"PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    listed = done.stdout.split()
    assert {"chromium", "dcmtk", "dicom3tools", "caddy"} <= set(listed) or programs.find("caddy")
    assert set(listed) <= set(" ".join(programs.PACKAGES.values()).split())


# Written so that this file does not match itself.
LOOKS = re.compile(r'shutil\.whic[h]\("(?P<name>[\w-]+)"|not installe[d]"|no [C]hromium')


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.py")), ids=lambda path: path.name)
def test_no_test_looks_for_a_program_in_its_own_way(path):
    """Else the line and CI would not know of it; unshare comes with every Linux."""
    found = [match for match in LOOKS.finditer(path.read_text()) if match["name"] not in ("true", "unshare")]
    assert found == []
