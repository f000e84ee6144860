"""The command line as a user runs it: in a process of its own."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.cli.commands import COMMANDS


def foveola(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "foveola", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def said(result, code=1):
    """The one sentence of a refusal; never a traceback."""
    assert result.returncode == code, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def archive(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "archive"
    result = foveola("index", folder, phantoms, "--json")
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["cases"], values["added"], values["failed"]) == (32, 32, [])
    return folder


@pytest.fixture(scope="module")
def query(phantoms):
    return sorted((phantoms.parent / "images").iterdir())[0]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(command):
    result = foveola(command, "--help")
    assert result.returncode == 0
    assert f"Example: foveola {command}" in result.stdout


def test_help_lists_every_command():
    listed = foveola("--help").stdout
    assert all(command in listed for command in COMMANDS)


def test_search_prints_hits_to_stdout_and_notes_to_stderr(archive, query):
    result = foveola("search", archive, query, "-k", "3")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 4
    assert "28 cases compared; same person: 3 left out, with what is so alike that it may be" in result.stderr


def test_search_as_json_is_one_line_with_everything(archive, query):
    result = foveola("search", archive, query, "-k", "3", "--where", "eye = 'left'", "--json")
    (line,) = result.stdout.splitlines()
    values = json.loads(line)
    assert [hit["rank"] for hit in values["hits"]] == [1, 2, 3]
    assert all(hit["case"]["eye"] == "left" for hit in values["hits"])
    assert values["hits"] == sorted(values["hits"], key=lambda hit: -hit["similarity"])
    assert values["considered"] == 14
    assert values["in_archive"]
    assert set(values["hits"][0]["case"]) >= {"id", "image", "path", "grade", "findings", "subject", "visit", "extra"}


def test_search_writes_a_page_that_needs_nothing_else(archive, query, tmp_path):
    page = tmp_path / "report.html"
    assert foveola("search", archive, query, "--html", page).returncode == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") >= 11  # the query and ten hits
    assert "does not state a diagnosis" in text
    assert "http://" not in text
    assert "https://" not in text


def test_evaluate_has_every_metric_with_micro_macro_grades_and_chance(archive, phantoms):
    result = foveola("evaluate", archive, "--queries", phantoms, "--label", "grade", "--json")
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    for metric in ("mHR@10", "mAP@10", "mAP@R"):
        assert {"micro", "macro", "per_grade", "chance", "interval"} <= set(values["metrics"][metric])


def test_evaluate_prints_a_table_and_writes_a_page(archive, tmp_path):
    result = foveola("evaluate", archive, "-k", "5", "--html", tmp_path / "e.html")
    assert result.returncode == 0
    assert "mAP@5" in result.stdout
    assert "chance" in result.stdout
    assert "phantom" in (tmp_path / "e.html").read_text().lower()


def test_evaluate_splits_by_a_column_and_leaves_out_an_eye_alone(archive):
    result = foveola("evaluate", archive, "--by", "camera", "--exclude", "eye", "--json")
    values = json.loads(result.stdout)
    cameras = values["subgroups"]["camera"]
    assert len(cameras) >= 2
    asked = [sum(found["mHR@1"]["queries"].values()) for found in cameras.values()]
    assert sum(asked) == 32
    assert values["settings"]["exclude"] == "eye"
    assert values["excluded_same_subject"]["pairs"] == 32  # one other visit of each eye


def test_evaluate_against_another_archive_takes_differences(archive, tmp_path):
    copy = Path(shutil.copytree(archive, tmp_path / "copy"))
    result = foveola("evaluate", archive, "--against", copy, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["difference"]["metrics"]["mAP@10"]
    assert (found["micro"], found["interval"]["macro"]) == (0, [0, 0])
    assert "beyond" in foveola("evaluate", archive, "--against", copy).stdout
    foveola("remove", copy, "--subject", "P00003")
    refused = said(foveola("evaluate", archive, "--against", copy))
    assert "asked other queries (32 and 28)" in refused


def test_info_and_remove(archive, tmp_path):
    copy = Path(shutil.copytree(archive, tmp_path / "copy"))
    before = json.loads(foveola("info", copy, "--json").stdout)
    assert before["cases"] == 32
    subject = "P00003"
    assert json.loads(foveola("remove", copy, "--subject", subject, "--json").stdout) == {
        "archive": str(copy),
        "removed": 4,
    }
    after = json.loads(foveola("info", copy, "--json").stdout)
    assert (after["cases"], after["subjects"]) == (28, 7)
    assert subject.encode() not in (copy / "archive.sqlite").read_bytes()
    assert "no " in said(foveola("remove", copy, "--subject", subject))


def test_a_folder_of_photographs_needs_no_manifest(archive, phantoms, tmp_path):
    result = foveola("index", tmp_path / "new", phantoms.parent / "images", "--json")
    assert json.loads(result.stdout)["added"] == 32


def test_bad_photographs_are_listed_and_the_others_indexed(phantoms, query, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(query, folder / "good.jpg")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(query.read_bytes()[:3000])
    result = foveola("index", tmp_path / "archive", folder)
    assert result.returncode == 3
    assert "1 added" in result.stdout
    assert "2 photographs could not be used" in result.stderr
    assert "empty.jpg" in result.stderr
    assert "cut.jpg" in result.stderr
    assert "Traceback" not in result.stderr


def test_phantom_and_adapt_print_the_manifest(tmp_path):
    out = tmp_path / "phantoms"
    result = foveola("phantom", out, "--subjects", 1, "--visits", 1, "--size", 128)
    assert result.stdout.strip() == str(out / "manifest.csv")
    assert "idrid" in foveola("adapt").stdout
    images = tmp_path / "aptos/train_images"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "a1.png"), np.zeros((70, 70, 3), np.uint8))
    (tmp_path / "aptos/train.csv").write_text("id_code,diagnosis\na1,2\n")
    result = foveola("adapt", "aptos", tmp_path / "aptos", "--json")
    manifest = Path(json.loads(result.stdout)["manifest"])
    assert "a1.png" in manifest.read_text()


def test_the_demo_ends_by_naming_its_report(tmp_path):
    result = foveola("demo", "--out", tmp_path / "demo", "--subjects", 4)
    assert result.returncode == 0, result.stderr
    report = Path(result.stdout.splitlines()[-1].removeprefix("report:").strip())
    assert report == tmp_path / "demo/report.html"
    assert "not patients" in report.read_text()
    assert foveola("demo", "--out", tmp_path / "demo", "--subjects", 4).returncode == 0


def rows(folder):
    with sqlite3.connect(f"file:{folder / 'archive.sqlite'}?mode=ro", uri=True) as db:
        tables = ("meta", "cases", "case_findings", "descriptors")
        return [db.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in tables]


def test_indexing_killed_at_any_moment_ends_with_the_same_archive(archive, phantoms, tmp_path):
    folder = tmp_path / "archive"
    rng = np.random.default_rng(5)
    kills = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "foveola", "index", str(folder), str(phantoms)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.2, 2.0))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    done = foveola("index", folder, phantoms)
    assert done.returncode == 0, done.stderr
    assert rows(folder) == rows(archive)


# What a careless hand or a broken disk gives it, and what each is told.
BAD = [
    (["search", "{none}", "{query}"], "no"),
    (["search", "{empty}", "{query}"], "archive"),
    (["search", "{archive}", "{none}"], "none"),
    (["search", "{archive}", "{text}"], "text"),
    (["search", "{archive}", "{pdf}"], "PDF"),
    (["search", "{archive}", "{cut}"], "cut.jpg"),
    (["search", "{archive}", "{bomb}"], "65535"),
    (["search", "{archive}", "{tiny}"], "tiny.png"),
    (["search", "{archive}", "{empty}"], ""),
    (["search", "{archive}", "{query}", "--where", "grad >= 2"], "did you mean 'grade'"),
    (["search", "{archive}", "{query}", "--where", "grade >="], "grade"),
    (["search", "{archive}", "{query}", "--where", "grade = 'bad'"], "grade"),
    (["search", "{archive}", "{query}", "--where", "1; DROP TABLE cases"], ""),
    (["search", "{archive}", "{query}", "--html", "{none}/x/report.html"], "No such file"),
    (["search", "{damaged}", "{query}"], "damaged"),
    (["index", "{new}", "{empty}"], "no "),
    (["index", "{new}", "{text}"], ""),
    (["index", "{new}", "{missing_file}"], "row 2"),
    (["index", "{new}", "{bad_grade}"], "row 2"),
    (["index", "{new}", "{bad_eye}"], "row 2"),
    (["index", "{new}", "{two_splits}"], "row"),
    (["index", "{new}", "{no_image}"], "image"),
    (["index", "{new}", "{twice}"], "row"),
    (["index", "{foreign}", "{query}"], "neither an archive nor empty"),
    (["index", "{new}", "{query}", "--encoder", "nonsense"], "is no encoder"),
    (["index", "{archive}", "{query}", "--encoder", "nonsense"], "is no encoder"),
    (["evaluate", "{archive}", "--label", "shoe"], "shoe"),
    (["evaluate", "{archive}", "--by", "shoe"], "no image has a column 'shoe' with a value"),
    (["evaluate", "{archive}", "--queries", "{cut}"], "none of the 1 queries can be used"),
    (["remove", "{archive}", "--image", "nobody.jpg"], "no "),
    (["info", "{empty}"], "archive"),
    (["train", "{none}", "{new}"], "no such file"),
    (["train", "{text}", "{new}"], "TOML"),
    (["adapt", "odri", "{empty}"], "did you mean 'odir'"),
    (["adapt", "idrid", "{empty}"], ""),
    (["phantom", "{foreign}"], ""),
    (["phantom", "{new}", "--size", "9"], "size"),
]


@pytest.fixture(scope="module")
def places(archive, query, tmp_path_factory):
    """Everything that can be wrong, ready made."""
    folder = tmp_path_factory.mktemp("bad")
    made = {name: folder / name for name in ("none", "empty", "new", "foreign")}
    made["empty"].mkdir()
    made["foreign"].mkdir()
    (made["foreign"] / "thesis.doc").write_text("precious")
    made |= {"archive": archive, "query": query}
    made["damaged"] = Path(shutil.copytree(archive, folder / "damaged"))
    (made["damaged"] / "archive.sqlite").write_bytes(b"no database" * 1000)
    data = query.read_bytes()
    files = {
        "text": ("text.txt", b"hello"),
        "pdf": ("scan.jpg", b"%PDF-1.7 ..."),
        "cut": ("cut.jpg", data[: len(data) // 2]),
        "bomb": ("bomb.jpg", _huge(data)),
        "missing_file": ("missing.csv", b"image\ngone.jpg\n"),
        "bad_grade": ("grade.csv", f"image,grade\n{query},7\n".encode()),
        "bad_eye": ("eye.csv", f"image,eye\n{query},middle\n".encode()),
        "no_image": ("noimage.csv", b"subject,grade\n1,2\n"),
        "twice": ("twice.csv", f"image\n{query}\n{query}\n".encode()),
    }
    for name, (file, content) in files.items():
        made[name] = folder / file
        made[name].write_bytes(content)
    made["tiny"] = folder / "tiny.png"
    cv2.imwrite(str(made["tiny"]), np.zeros((4, 4, 3), np.uint8))
    other = sorted(query.parent.iterdir())[1]
    made["two_splits"] = folder / "splits.csv"
    made["two_splits"].write_text(f"image,subject,split\n{query},s1,train\n{other},s1,test\n")
    return made


def _huge(data):
    """The same JPEG with a header that claims 65535 x 65535 pixels."""
    start = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: start + 5] + b"\xff\xff\xff\xff" + data[start + 9 :]


@pytest.mark.parametrize(("arguments", "part"), BAD, ids=lambda value: " ".join(value)[:60])
def test_bad_input_gets_a_sentence_and_harms_nothing(arguments, part, places):
    before = rows(places["archive"])
    result = foveola(*[argument.format(**places) for argument in arguments])
    assert result.returncode in (1, 3) or "Usage:" in result.stderr, result.stderr
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert part in result.stderr
    assert len(result.stderr) < 1500
    assert rows(places["archive"]) == before
    assert not places["new"].exists()
    assert (places["foreign"] / "thesis.doc").read_text() == "precious"
