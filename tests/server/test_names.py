"""No name of a file leaves the service: by a condition, a message, or its log."""

import logging
import shutil
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from foveola.errors import FilterError
from foveola.server import Settings, create_app
from foveola.server.auth import ROLES, Accounts
from foveola.server.errors import Nameless, nameless
from server.conftest import MARK
from server.people import with_accounts

OF_ALL = [
    "image like '%M%'",
    "path like '/%'",
    "path is not null",
    "not image = 'x'",
    "grade >= 0 and \"image\" like '%M%'",
    "image in ('a', 'b')",
    "path between 'a' and 'z'",
]
OF_MATCHERS = ["subject like '1%'", "subject is null", "eye = 'left' or subject = '1'"]


@pytest.fixture(scope="module")
def programs(served, tmp_path_factory):
    """A program of each role."""
    folder = tmp_path_factory.mktemp("names") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder)
    app = create_app(folder, settings=Settings(rate=1e6, burst=1e6))
    with Accounts(folder) as accounts:
        secrets = {role: accounts.make_token(role, "", 1) for role in ROLES}
    return {
        role: TestClient(app, headers={"Authorization": f"Bearer {secret}"}, follow_redirects=False)
        for role, secret in secrets.items()
    }


def asked(client, photograph, where):
    """Every door that takes a condition, asked with one."""
    own = {"photograph": ("x.png", photograph.read_bytes(), "image/png")}
    token = client.post("/queries", files=own, data={"eye": "left"}).headers["location"]
    yield client.get("/api/v1/cases", params={"where": where})
    yield client.post("/api/v1/search", files=own, data={"where": where})
    left = {"left": own["photograph"]}
    yield client.post("/api/v1/read", files=left, data={"where": where})
    for page in (token, f"{token}/report", f"{token}/hits.csv"):
        yield client.get(page, params={"where": where})


@pytest.mark.parametrize("where", OF_ALL)
def test_no_condition_names_a_file(programs, eyes, where):
    for answer in asked(programs["admin"], eyes[1], where):
        assert answer.status_code == 422, answer.text
        assert "unknown column" in answer.text
        assert "image, path" not in answer.text


@pytest.mark.parametrize("where", OF_MATCHERS)
def test_a_condition_names_a_person_to_who_may_match_only(programs, eyes, where):
    for role in ROLES:
        may = role in ("matcher", "admin")
        answer = programs[role].get("/api/v1/cases", params={"where": where})
        assert answer.status_code == (200 if may else 422)  # also after the other's, kept for both
    for answer in asked(programs["viewer"], eyes[1], where):
        assert answer.status_code == 422


def test_a_ticked_camera_is_a_column_too(programs, photographs):
    own = {"photograph": ("x.png", photographs[5].read_bytes(), "image/png")}
    token = programs["viewer"].post("/queries", files=own).headers["location"]
    for column in ("image", "path", "subject"):
        answer = programs["viewer"].get(token, params={"camera": f"{column}:{MARK}"})
        assert answer.status_code == 422
        assert "unknown column" in answer.text


def test_where_files_may_be_seen_a_condition_still_names_them(served):
    from foveola.archive import Archive

    with Archive.open(served, read_only=True) as archive:
        assert archive.page(f"image like '%{MARK}%'")[1] > 0
        archive.hidden = lambda: frozenset({"image"})
        with pytest.raises(FilterError, match="unknown column 'image'"):
            archive.page(f"image like '%{MARK}%'")


def test_swapped_eyes_are_told_without_their_names(client, served, photographs):
    from foveola.archive import Archive

    with Archive.open(served, read_only=True) as archive:
        eyes = {}
        for _, case in archive.cases():
            eyes.setdefault(case.subject, {})[case.eye] = case.path
    pair = next(of for of in eyes.values() if len(of) == 2)
    files = {
        eye: (f"{MARK}.png", Path(pair[other]).read_bytes(), "image/png")
        for eye, other in (("left", "right"), ("right", "left"))
    }
    answer = client.post("/api/v1/read", files=files)
    assert answer.status_code == 422
    assert "is case " in answer.text
    assert MARK not in answer.text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "/data/A has no accounts; make one with: foveola accounts add /data/A NAME",
            "ARCHIVE has no accounts; make one with: foveola accounts add ARCHIVE NAME",
        ),
        ("the audit log /data/A/audit-log.jsonl can't be written", "the audit log audit-log.jsonl can't be written"),
        ("/home/Erika Muster/x.png: can't be read", "a file: can't be read"),
        (
            "Erika Muster 1950.JPG: there is no such file; check the path",
            "a file: there is no such file; check the path",
        ),
        ("/import/muster/labels.csv, row 3: no such file", "a file, row 3: no such file"),
        ("unknown column 'x'; This archive has: eye", "unknown column 'x'; This archive has: eye"),
        ("visit: expected months, such as 6", "visit: expected months, such as 6"),
        (
            "'foveola regions off /data/A', then 'foveola regions on /data/A'",
            "'foveola regions off ARCHIVE', then 'foveola regions on ARCHIVE'",
        ),
        ("/data/A: /data/A is busy (/data/A)", "ARCHIVE: ARCHIVE is busy (ARCHIVE)"),
        ("the spool /data/A.pacs/spool can't be written", "the spool a file can't be written"),
        ("/data/AB/x.png and /old/data/A/x.png", "a file and a file"),
    ],
)
def test_a_sentence_for_who_asks_names_no_file(said, told):
    assert nameless(said, Path("/data/A")) == told


@pytest.mark.parametrize("name", ["e", "photograph", "the", "no", "is"])
def test_an_archive_s_name_garbles_no_sentence(served, monkeypatch, tmp_path, name):
    (tmp_path / name).symlink_to(served)
    monkeypatch.chdir(tmp_path)
    with TestClient(create_app(Path(name))) as client:
        refused = client.post("/api/v1/search", files={"photograph": ("x", b"no photograph")})
        asked = client.get("/api/v1/cases/99999")
        unmatched = client.post("/api/v1/match", files={"photograph": ("x", b"no")})
    assert refused.json()["detail"].startswith("the photograph: this is a text file; expected")
    assert asked.json()["detail"] == "the archive has no case with the id 99999"
    assert unmatched.json()["detail"].endswith("foveola matching on ARCHIVE --purpose '...'")


def test_a_fault_in_the_log_is_a_kind_and_a_place():
    try:
        open(f"/nowhere/{MARK}.jpg")  # noqa: PTH123, SIM115
    except OSError:
        fault = sys.exc_info()
    log = logging.getLogger("uvicorn.error")
    record = log.makeRecord(log.name, 40, __file__, 1, "Exception in ASGI application\n", (), fault)
    line = Nameless().format(record)
    assert MARK not in line
    assert "FileNotFoundError" in line
    assert "test_names.py" in line


def test_what_a_library_says_of_a_file_is_not_in_the_log():
    log = logging.getLogger("pydicom")
    record = log.makeRecord(log.name, 30, __file__, 1, "PatientName is %s\x1b[2J", (MARK,), None)
    line = Nameless().format(record)
    assert MARK not in line
    assert "pydicom" in line
    assert "\x1b" not in line
