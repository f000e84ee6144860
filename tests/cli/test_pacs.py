"""foveola pacs where it refuses; how it works is shown with a real Orthanc in tests/pacs."""

import subprocess
import sys

import pytest

from commands import foveola


def test_other_computers_need_a_name_to_send(tmp_path):
    done = foveola("pacs", "listen", tmp_path / "A", "--host", "0.0.0.0", code=1)
    assert "name who may send with --allow" in done.stderr
    assert not (tmp_path / "A").exists()


def test_answer_wants_one_image(tmp_path):
    said = foveola("pacs", "answer", tmp_path, "--to", "http://localhost", code=2).stderr
    assert "either --case or --sop" in said


def test_an_answer_before_anything_came_is_told(tmp_path):
    asked = ("answer", tmp_path / "A", "--case", 1, "--to", "dicom://PACS@localhost:104")
    assert "nothing came from a PACS yet" in foveola("pacs", *asked, code=1).stderr


def test_a_bad_url_makes_no_archive(tmp_path):
    done = foveola("pacs", "pull", tmp_path / "A", "http://pacs.example/dicom-web", code=1)
    assert "use https" in done.stderr
    assert list(tmp_path.iterdir()) == []


WITHOUT = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else real(name, *rest)
from foveola.cli import main
main()
"""


@pytest.mark.parametrize("absent", ["pynetdicom", "dicomweb_client", "highdicom"])
def test_what_is_missing_is_said_in_one_sentence(tmp_path, absent):
    command = [sys.executable, "-c", WITHOUT.format(absent=absent), "pacs", "listen", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'foveola[dicom]'")
    assert "Traceback" not in done.stderr
