"""A folder is read whole, or what was passed over is counted."""

import json
import os

import pytest
from click.testing import CliRunner

from foveola.cli.commands import main
from foveola.datasets.manifest import Manifest, read_sources
from foveola.errors import ManifestError
from foveola.images.kinds import PassedOver, files_in, photographs_in
from foveola.server.dicom.intake import find_files

HEADS = {
    "JPEG": b"\xff\xd8\xff\xe0",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "TIFF": b"II*\0",
    "BigTIFF": b"MM\0+",
    "WebP": b"RIFF\0\0\0\0WEBP",
    "BMP": b"BM" + bytes(12) + (40).to_bytes(4, "little"),
}
JPEG = HEADS["JPEG"]
DICOM = bytes(128) + b"DICM"


def listed(folder):
    passed = PassedOver()
    return [p.relative_to(folder).as_posix() for p in photographs_in(folder, passed)], passed


@pytest.mark.parametrize("name", ["a", "a.jfif", "a.jpe", "a.JPG", "a.dat", "a.b.c", "scan.001"])
@pytest.mark.parametrize("kind", HEADS)
def test_the_name_does_not_matter(tmp_path, kind, name):
    (tmp_path / name).write_bytes(HEADS[kind])
    assert listed(tmp_path)[0] == [name]
    assert listed(tmp_path)[1].said() is None
    assert [case.image for case in read_sources([tmp_path])] == [name]
    assert [case.image for case in read_sources([tmp_path / name])] == [name]


OVER = {
    "text": (lambda f: (f / "notes.txt").write_text("x"), "1 file that is no photograph"),
    "empty": (lambda f: (f / "empty").touch(), "1 file that is no photograph"),
    "DICOM": (lambda f: (f / "a.dcm").write_bytes(DICOM), "1 DICOM file, which dicom://"),
    "GIF": (lambda f: (f / "a.gif").write_bytes(b"GIF89a"), "1 GIF file, to be converted"),
    "HEIC": (lambda f: (f / "a.heic").write_bytes(bytes(4) + b"ftypheic"), "1 HEIC file, to be"),
    "AVIF": (lambda f: (f / "a.avif").write_bytes(bytes(4) + b"ftypavif"), "1 AVIF file, to be"),
    "JP2": (lambda f: (f / "a.jp2").write_bytes(b"\0\0\0\x0cjP  "), "1 JPEG 2000 file, to be"),
    "J2K": (lambda f: (f / "a.j2k").write_bytes(b"\xff\x4f\xff\x51"), "1 JPEG 2000 file, to be"),
    "JXL": (lambda f: (f / "a.jxl").write_bytes(b"\xff\x0a"), "1 JPEG XL file, to be converted"),
    "PSD": (lambda f: (f / "a.psd").write_bytes(b"8BPS"), "1 Photoshop file, to be converted"),
    "raw": (lambda f: (f / "a.cr3").write_bytes(bytes(4) + b"ftypcrx "), "1 Canon camera raw file"),
    "video": (lambda f: (f / "a.mp4").write_bytes(bytes(4) + b"ftypmp42"), "1 file that is no"),
    "hidden": (lambda f: (f / ".a.jpg").write_bytes(JPEG), "1 hidden file or folder"),
    "hidden folder": (lambda f: (f / ".b").mkdir(), "1 hidden file or folder"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), "1 pipe, socket or device"),
    "device": (lambda f: (f / "zero").symlink_to("/dev/zero"), "1 pipe, socket or device"),
    "linked folder": (lambda f: (f / "there").symlink_to(f.parent), "1 linked subfolder"),
    "loop": (lambda f: (f / "loop").symlink_to(f), "1 linked subfolder"),
    "dangling": (lambda f: (f / "gone").symlink_to("nothing"), "1 file that can't be read"),
    "file loop": (lambda f: (f / "self").symlink_to("self"), "1 file that can't be read"),
}


@pytest.mark.parametrize("kind", OVER)
def test_what_is_passed_over_is_counted_and_said(tmp_path, kind):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(JPEG)
    make, said = OVER[kind]
    make(folder)
    names, passed = listed(folder)
    assert names == ["a.jpg"]
    assert passed.said().startswith(f"passed over: {said}")
    assert sum(passed.as_json().values()) == 1


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder with a subfolder that the operating system refuses to list, also to root."""
    (tmp_path / "in" / "locked").mkdir(parents=True)
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    real = os.scandir

    def scandir(path="."):
        if os.path.basename(path) in ("locked", "all locked"):  # noqa: PTH119
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return tmp_path / "in"


def test_a_subfolder_that_can_not_be_read_is_said(locked):
    names, passed = listed(locked)
    assert names == ["a.jpg"]
    assert passed.said() == "passed over: 1 subfolder that can't be read"
    passed = PassedOver()
    assert len(find_files(locked, passed)) == 1
    assert passed.said() == "passed over: 1 subfolder that can't be read"


def test_a_folder_that_can_not_be_read_is_an_error(locked):
    (locked / "all locked").mkdir()
    with pytest.raises(ManifestError, match="can't be read: Permission denied"):
        Manifest.from_folder(locked / "all locked")


def test_kinds_are_said_together_in_one_sentence(tmp_path):
    for name in ("a.txt", "b.txt", ".c"):
        (tmp_path / name).touch()
    _, passed = listed(tmp_path)
    assert passed.said() == "passed over: 2 files that are no photographs, 1 hidden file or folder"
    with pytest.raises(ManifestError, match="2 files that are no photographs"):
        Manifest.from_folder(tmp_path)


def test_a_dicom_folder_says_what_it_passes_over_and_waits_for_no_pipe(tmp_path):
    from foveola.server.dicom.intake import FolderTaken, _objects

    (tmp_path / "image").write_bytes(DICOM)
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked").symlink_to(tmp_path)
    passed, done = PassedOver(), FolderTaken()
    assert len(list(_objects(find_files(tmp_path, passed), done))) == 1
    assert done.others == 1
    assert done.passed.said() == "passed over: 1 pipe, socket or device"
    assert passed.said() == "passed over: 1 linked subfolder, to be named by itself"


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/a.jpg", "a.jpg", "c.jpg", "a/z.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    found = [p.relative_to(tmp_path).as_posix() for p in files_in(tmp_path, PassedOver())]
    assert found == ["a.jpg", "c.jpg", "a/z.jpg", "b/a.jpg"]


def test_index_says_what_it_passed_over(phantoms, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(next((phantoms.parent / "images").iterdir()).read_bytes())
    for kind in ("text", "DICOM", "hidden", "pipe", "linked folder"):
        OVER[kind][0](folder)
    done = CliRunner().invoke(main, ["index", str(tmp_path / "A"), str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["passed_over"] == {
        "DICOM files, which dicom://FOLDER takes": 1,
        "files that are no photographs": 1,
        "hidden files and folders": 1,
        "linked subfolders, to be named by themselves": 1,
        "pipes, sockets and devices": 1,
    }
    for said in (done, CliRunner().invoke(main, ["index", str(tmp_path / "A"), str(folder)])):
        (line,) = (line for line in said.stderr.splitlines() if line.startswith("passed over: "))
        assert all(OVER[kind][1].split(",")[0] in line for kind in ("text", "DICOM", "hidden", "pipe"))
