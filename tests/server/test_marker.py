"""A name in every DICOM tag and in the files' names is nowhere where somebody might read it.

Everything is done as at a hospital: `foveola index dicom://`, then `foveola serve` in a process of
its own. What an admin can reach is fetched, link by link, and looked through.
"""

import io
import re
import subprocess
import sys
from collections import Counter, deque
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from PIL import Image

from commands import foveola
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.matching import permission
from foveola.regions import switch_on
from foveola.server.auth import Accounts
from marks import MARK, planted
from server.people import PASSWORD

LINK = re.compile(r'(?:href|src|data-picture|data-map|data-points|hx-get|action)="([^"#]+)')
COUNT = 24  # photographs; a search by region wants 20
EACH = 6  # addresses of a kind that are looked at
SKIPPED = ("/logout", "/occlusion/", "/audit/run")


@pytest.fixture(scope="module")
def clinic(phantoms, tmp_path_factory):
    """An archive of 24 DICOM photographs full of the mark, and the folder they came from."""
    folder = tmp_path_factory.mktemp("clinic")
    arrived = folder / "arrived" / MARK
    arrived.mkdir(parents=True)
    for number, data in enumerate(photographs(list(Manifest.read(phantoms).cases())[:COUNT])):
        (arrived / f"{MARK}_{number}.dcm").write_bytes(data)
    said = foveola("index", folder / "A", f"dicom://{folder / 'arrived'}")
    assert f"{COUNT} DICOM images added" in said.stdout, said.stdout + said.stderr
    assert not marked((said.stdout + said.stderr).replace(str(arrived), ""))
    permission.switch_on(folder / "A", "a test")
    assert foveola("matching", "update", folder / "A").returncode == 0
    switch_on(folder / "A")
    with Accounts.create(folder / "A") as accounts:
        accounts.add("root", "admin", PASSWORD)
    return folder


def photographs(cases):
    """As DICOM objects full of marks: one is made, which takes seconds, and changed for each."""
    pixels = [decode(Path(case.path)) for case in cases]
    uid = "1.2.826.0.1.3680043.8.498.1000"
    made = planted(pixels[0], PatientID=f"{MARK}00", SOPInstanceUID=uid)
    people = sorted({case.subject for case in cases})
    for number, (case, own) in enumerate(zip(cases, pixels, strict=True)):
        data = made.replace(uid.encode(), f"{uid[:-2]}{number:02d}".encode())
        data = data.replace(f"{MARK}00".encode(), f"{MARK}{people.index(case.subject):02d}".encode())
        yield data.replace(pixels[0].tobytes(), own.tobytes())


@pytest.fixture(scope="module")
def service(clinic):
    """A client of the running service, logged in, and the file of what the service says."""
    log = clinic / "serve.log"
    command = [sys.executable, "-u", "-m", "foveola", "serve", str(clinic / "A"), "--port", "0", "--rate", "100000"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True) as process:
        try:
            (address,) = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            origin = {"Origin": address, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
            with httpx.Client(base_url=address, headers=origin, timeout=120) as client:
                client.post("/login", data={"name": "root", "password": PASSWORD})
                (token,) = re.findall(r'name="csrf" content="(\w+)"', client.get("/").text)
                client.headers["X-CSRF-Token"] = token
                yield client, log
        finally:
            process.terminate()


def marked(data) -> bool:
    """Whether the mark is in bytes or text, however it is written."""
    data = (data if isinstance(data, bytes) else data.encode()).upper()
    ways = (MARK.encode(), MARK.encode("utf-16-le"), MARK[::-1].encode())
    return any(way in data for way in ways)


def kind_of(address):
    """An address without what differs between cases and photographs sent."""
    return re.sub(r"[\w-]{20,}|\d+", "*", address.partition("?")[0])


def looked_through(client, address, seen):
    """Fetch everything that pages lead to; fails where the mark is in it or in its address."""
    waiting = deque([address])
    while waiting:
        asked = waiting.popleft()
        kinds = Counter(map(kind_of, seen))
        if asked in seen or kinds[kind_of(asked)] >= EACH or any(p in asked for p in SKIPPED):
            continue
        answer = client.get(asked)
        seen[asked] = answer.headers.get("content-type", "")
        assert not marked(str(answer.url)), "an address"
        assert not marked(repr(answer.headers.multi_items())), asked
        assert not marked(answer.content), asked
        if seen[asked].startswith("image/jpeg"):
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert not picture.getexif()
                assert not {"comment", "exif", "icc_profile"} & set(picture.info)
        if seen[asked].startswith("text/html"):
            links = (urljoin(str(answer.url), unescape(link)) for link in LINK.findall(answer.text))
            waiting.extend(link for link in links if link.startswith(str(client.base_url)))
    return seen


def sent(client, path, files, **data):
    """Send files as a browser does, with their names; where it leads."""
    parts = [("photograph", (file.name, file.read_bytes(), "image/jpeg")) for file in files]
    answer = client.post(path, files=parts, data=data)
    assert not marked(answer.text + repr(answer.headers.multi_items()))
    return answer


def test_nothing_that_is_shown_has_the_mark(clinic, service):
    client, log = service
    files = sorted((clinic / "arrived").rglob("*.dcm"))
    assert files[0].read_bytes().count(MARK.encode()) > 5000
    seen = {}
    first = sent(client, "/queries", files[:1], eye="left").headers["location"]
    both = sent(client, "/people", files[1:3], eye="right").headers["location"]
    match = sent(client, "/match", files[4:5]).headers["location"]
    assert client.post("/audit/run").status_code < 400
    for start in (
        first,
        f"{both}?show=people",
        match,
        "/",
        "/audit",
        "/overview",
        "/api/openapi.json",
        "/api/v1/cases",
        "/api/v1/cases/1",
        "/api/v1/metrics",
        "/api/v1/jobs",
        "/api/v1/archive",
        "/cases/999",
        "/no/such/page",
    ):
        looked_through(client, start, seen)
    kinds = [kind.partition(";")[0] for kind in seen.values()]
    assert kinds.count("image/jpeg") >= 12
    assert kinds.count("image/png") >= 6
    assert {"text/csv", "text/html", "application/json", "text/plain"} <= set(kinds)
    assert len(set(map(kind_of, seen))) >= 40
    assert any("/report" in address for address in seen)
    assert log.exists()


def test_programs_are_told_nothing_either(clinic, service):
    client, _ = service
    file = min((clinic / "arrived").rglob("*.dcm"))
    for path in ("/api/v1/search", "/api/v1/match", "/api/v1/search/region"):
        assert sent(client, path, [file], region="0.4,0.4,0.2,0.2").status_code == 200, path
    parts = {"left": (file.name, file.read_bytes(), "application/dicom")}
    answer = client.post("/api/v1/read", files=parts)
    assert answer.status_code == 200
    assert not marked(answer.text)


@pytest.mark.parametrize("cut", [400, 20_000, -1000])
def test_a_broken_file_is_refused_without_its_name(clinic, service, tmp_path, cut):
    client, _ = service
    whole = min((clinic / "arrived").rglob("*.dcm")).read_bytes()
    broken = tmp_path / f"{MARK}.dcm"
    broken.write_bytes(whole[:cut])
    for path in ("/queries", "/match", "/api/v1/search"):
        assert sent(client, path, [broken]).status_code == 422


def test_no_file_has_it_but_the_pseudonyms(clinic, service):
    client, log = service
    assert client.get("/").status_code == 200  # it is still there after all that
    said = log.read_text().replace(str(clinic), "")
    assert not marked(said)
    files = [path for place in ("A", "A.pacs") for path in (clinic / place).rglob("*")]
    with_mark = [path.name for path in files if path.is_file() and marked(path.read_bytes())]
    assert [name for name in with_mark if not name.startswith("pseudonyms.sqlite")] == []
    assert with_mark  # or nothing was looked for
    assert not [path for path in files if marked(path.name)]
    with Archive.open(clinic / "A", read_only=True) as archive:
        assert not marked(repr([case for _, case in archive.cases()]))


def test_the_mark_would_be_found():
    assert marked(f"x {MARK.title()} y")
    assert marked(MARK.lower().encode("utf-16-le"))
    assert not marked("MUSTER MANN")
