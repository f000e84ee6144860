"""Matching and the audit's worklist on the page."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from fastapi.testclient import TestClient

import refused
from foveola.archive import Archive
from foveola.matching import gallery, permission, saved_audit
from foveola.matching.saved_audit import decisions
from foveola.server import create_app
from server.conftest import MARK


@pytest.fixture(scope="module")
def matched(served, tmp_path_factory):
    """The archive with matching on, and one eye filed as the other."""
    folder = tmp_path_factory.mktemp("identity") / "A"
    shutil.copytree(served, folder)
    with Archive.open(folder) as archive:
        case = archive.case(1)
        other = "left" if case.eye == "right" else "right"
        archive.update_records([replace(case, eye=other, extra={**case.extra, "split": "train"})])
        same = [c for i, c in archive.cases() if i != 1 and c.subject == case.subject]
        archive.update_records([replace(c, extra={**c.extra, "split": "test"}) for c in same])
    assert gallery.update(folder, permission.switch_on(folder, "tests of a page")) == ()
    return folder


@pytest.fixture(scope="module")
def allowed(matched):
    with TestClient(create_app(matched), follow_redirects=False) as made:
        yield made


def look(client, data, **fields):
    return client.post("/match", files={"photograph": (f"{MARK}.png", data, "image/png")}, data=fields)


def test_where_matching_is_off_the_pages_say_so_and_nothing_is_done(client, photographs):
    for address in ("/match", "/audit"):
        assert "foveola matching on" in client.get(address).text
    for answer in (look(client, photographs[0].read_bytes()), client.post("/audit/run")):
        assert answer.status_code == 403
        assert "switched off" in answer.text


def test_the_same_eye_is_found_and_the_use_is_logged(allowed, matched, photographs):
    used = len(permission.read_log(matched))
    pixels = cv2.imread(str(photographs[4]))
    turned = cv2.warpAffine(pixels, cv2.getRotationMatrix2D((128, 128), 5, 1.05), (256, 256))
    data = cv2.imencode(".png", turned)[1].tobytes()
    answer = look(allowed, data, visit="12", prior="50")
    assert answer.status_code == 303, answer.text
    assert [use["action"] for use in permission.read_log(matched)][used:] == ["match"]
    text = allowed.get(answer.headers["location"]).text
    with Archive.open(matched, read_only=True) as archive:
        wanted, _ = archive.find(path=str(photographs[4]))
    first = re.search(r'<ol class="hits.*?href="/cases/(\d+)"', text, re.DOTALL)[1]
    assert int(first) == wanted
    assert "Probably the same eye" in text
    assert "tests of a page" in text
    assert MARK not in text
    board = allowed.get(f"{answer.headers['location']}/board/1")
    assert board.content.startswith(b"\xff\xd8")
    assert allowed.get(f"{answer.headers['location']}/board/99").status_code == 404


def test_no_match_is_said_plainly(allowed, tmp_path):
    from foveola.phantom import generate

    generate(tmp_path, subjects=1, visits=1, seed=77, size=256, masks=False)
    data = next((tmp_path / "images").iterdir()).read_bytes()
    text = allowed.get(look(allowed, data, prior="1").headers["location"]).text
    assert re.search(r'class="said">No match: ', text)
    assert "Probably the same eye" not in text
    assert "Not shown to be the same" in text


@pytest.mark.parametrize("name", ["chest", "black", "poor"])
def test_of_what_shows_no_retina_page_and_rest_say_no_probability(allowed, photographs, tmp_path, name):
    made = refused.unreadable(refused.read(photographs[4]))[name]
    data = refused.write(tmp_path / f"{name}.png", made).read_bytes()
    files = {"photograph": ("x.png", data, "image/png")}
    said = allowed.post("/api/v1/match", files=files)
    assert list(said.json()) == ["detail"]
    for answer in (look(allowed, data), said):
        assert answer.status_code == 422
        assert re.search("does not look like a colour|shows too little of the", answer.text)
        assert not re.search(r"\d ?%", refused.words(answer.text))


def test_an_answer_is_shown_no_more_once_matching_is_off(matched, photographs, tmp_path):
    shutil.copytree(matched, tmp_path / "A")
    with TestClient(create_app(tmp_path / "A"), follow_redirects=False) as client:
        address = look(client, photographs[4].read_bytes()).headers["location"]
        assert client.get(address).status_code == 200
        permission.switch_off(tmp_path / "A")
        assert client.get(address).status_code == 410
        assert look(client, photographs[4].read_bytes()).status_code == 403


@pytest.fixture(scope="module")
def audited(allowed, matched):
    """The archive's audit, run from the page."""
    assert "Audit the archive" in allowed.get("/audit").text
    assert allowed.post("/audit/run").status_code == 303
    end = time.monotonic() + 300
    while allowed.app.state.matching.run.going:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert allowed.app.state.matching.run.fault == ""
    return matched


def one(client, **asked):
    text = client.get("/audit", params=asked).text
    return re.search(r'action="/audit/([0-9a-f]{12})" method="post">\s*<input', text)[1], text


def test_what_is_filed_wrong_is_shown_with_its_pictures(allowed, audited):
    work = json.loads((audited / saved_audit.WORKLIST).read_text(encoding="utf-8"))
    said = {(f["kind"], tuple(f["ids"])) for f in work["findings"]}
    assert any(kind == "two splits" and 1 in ids for kind, ids in said)
    assert len({f["key"] for f in work["findings"]}) == len(work["findings"])
    key, text = one(allowed)
    assert key == work["findings"][0]["key"]
    assert work["findings"][0]["said"] in text
    for id_ in work["findings"][0]["ids"]:
        assert f"/cases/{id_}/thumbnail" in text
    assert MARK not in text
    assert MARK not in (audited / saved_audit.WORKLIST).read_text(encoding="utf-8")


def test_decisions_are_kept_and_not_raised_again(allowed, audited):
    total = len(json.loads((audited / saved_audit.WORKLIST).read_text(encoding="utf-8"))["findings"])
    done = {}
    for verdict in ("wrong", "right", "unsure")[:total]:
        key, text = one(allowed)
        assert key not in done
        assert f"{len(done)} of {total} decided" in text
        answer = allowed.post(f"/audit/{key}", data={"verdict": verdict, "note": f"a {verdict} one"})
        assert answer.status_code == 303
        done[key] = verdict
    assert {k: d.verdict for k, d in decisions(audited).items()} == done
    assert f"{len(done)} of {total} decided" in allowed.get("/audit").text
    again = next(iter(done))
    allowed.post(f"/audit/{again}", data={"verdict": "open"})
    assert one(allowed)[0] == again
    assert allowed.post(f"/audit/{again}", data={"verdict": "maybe"}).status_code == 422
    assert allowed.post("/audit/000000000000", data={"verdict": "right"}).status_code == 404


def test_a_finding_on_a_removed_case_is_gone(audited):
    work = saved_audit.load_audit(audited, range(1000))
    ids = work.findings[0].ids
    left = saved_audit.load_audit(audited, set(range(1000)) - {ids[0]})
    assert len(left.findings) < len(work.findings)
    assert not any(ids[0] in each.ids for each in left.findings)


def test_a_damaged_worklist_is_told(audited, tmp_path):
    from foveola.errors import MatchingError

    assert saved_audit.load_audit(tmp_path, []) is None
    text = (audited / saved_audit.WORKLIST).read_text(encoding="utf-8")
    for broken in (text[:-20], "{}", text.replace('"kind"', '"kin"')):
        Path(tmp_path / saved_audit.WORKLIST).write_text(broken, encoding="utf-8")
        with pytest.raises(MatchingError, match="audit the archive again"):
            saved_audit.load_audit(tmp_path, range(1000))
