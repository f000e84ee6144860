"""A person is forgotten: no byte of them stays, and the archive goes on."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from commands import foveola
from foveola import regions
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.errors import AccessError, ArchiveError
from foveola.indexing import add_missing
from foveola.matching import gallery, permission, saved_audit
from foveola.matching.match import Matcher
from foveola.matching.saved_audit import key_of
from foveola.records import Case
from foveola.server import Settings, create_app
from foveola.server.audit import Log, read, verify
from foveola.server.dicom.patients import Identity
from foveola.server.dicom.pseudonyms import Pseudonyms
from foveola.server.maintenance.backup import backup
from foveola.server.maintenance.remove import commitment, digest_of, forget
from foveola.trust import Seen
from server.people import log_in, with_accounts

SUBJECT = "pseudonym-4711-of-nobody"


@pytest.fixture(scope="module")
def made(phantoms, tmp_path_factory) -> Path:
    """An archive of four people, matching is on; one person's photographs lie in its folder."""
    folder = tmp_path_factory.mktemp("forget")
    archive = folder / "A"
    cases = list(Manifest.read(phantoms, collection="p").cases())[:16]
    chosen = cases[0].subject
    own = [case for case in cases if case.subject == chosen]
    add_missing(archive, [case for case in cases if case.subject != chosen])
    (archive / "photographs").mkdir()
    for n, case in enumerate(own):
        place = (archive if n % 2 else folder) / "photographs"
        place.mkdir(exist_ok=True)
        shutil.copy(case.path, place / f"named-after-{SUBJECT}-{n}.png")
    rows = "".join(
        f"{(archive if n % 2 else folder)}/photographs/named-after-{SUBJECT}-{n}.png,{SUBJECT},"
        f"{case.eye},{case.visit}\n"
        for n, case in enumerate(own)
    )
    (folder / "own.csv").write_text("image,subject,eye,visit\n" + rows)
    add_missing(archive, list(Manifest.read(folder / "own.csv", collection="p").cases()))
    allowed = permission.switch_on(archive, "a test")
    assert gallery.update(archive, allowed) == ()
    return archive


@pytest.fixture
def archive(made, tmp_path) -> Path:
    """A copy where the one that was made stood: the paths in it hold."""
    aside = tmp_path / "whole"
    shutil.copytree(made.parent, aside)
    yield made
    shutil.rmtree(made.parent)
    shutil.copytree(aside, made.parent)


def of_subject(archive):
    """Ids, cases and both descriptors, as bytes, of the person."""
    found = {}
    for name in (".", gallery.FOLDER):
        with Archive.open(archive / name, read_only=True) as opened:
            ids, matrix = opened.vectors()
            rows = {id_: row for row, id_ in enumerate(ids.tolist())}
            for id_, case in opened.cases():
                if case.subject == SUBJECT:
                    found.setdefault(name, []).append((id_, case, matrix[rows[id_]].tobytes()))
    return found


def holding(archive, what):
    """Files of the archive in which these bytes are."""
    return [
        str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file() and what in path.read_bytes()
    ]


def decide(archive):
    """Decisions on findings of all sizes, of the person and of others; the keys of both."""
    with Archive.open(archive, read_only=True) as opened:
        cases = [case for _, case in opened.cases()]
    own = [case for case in cases if case.subject == SUBJECT]
    others = [case for case in cases if case.subject != SUBJECT]
    finding = next(name for case in others for name in case.findings or ())
    mine = [
        key_of("label", f"no {finding}", own[:1]),
        key_of("label", "grade 2", own[1:2]),
        key_of("wrong side", "", own[:1]),
        key_of("copy", "", [others[3], own[2]]),
        key_of("two splits", "", own[:3]),
    ]
    theirs = [key_of("copy", "", others[:2]), key_of("label", "grade 2", others[:1])]
    for key in mine + theirs:
        saved_audit.decide(archive, key, "right", "a note")
    saved_audit.decide(archive, mine[0], "open")
    return mine, theirs


def test_nothing_of_the_person_stays(archive):
    there = of_subject(archive)
    assert {name: len(rows) for name, rows in there.items()} == {".": 4, "matching": 4}
    mine, theirs = decide(archive)
    with Archive.open(archive, read_only=True) as opened:
        digests = opened.digests()
        digest = digests[there["."][0][0]]
        other = next(digests[id_] for id_ in digests if id_ not in {row[0] for row in there["."]})
        for marked in (archive / "encoder", archive / "matching" / "encoder"):
            Seen.of([digest, other]).save(marked)
    permission.log_use(archive, "match", query=digest.hex()[:16], candidates=20)
    permission.log_use(archive, "match", query="ab" * 8, candidates=20)
    Log(archive).append("anna", "case", [there["."][0][0]])
    traces = [
        SUBJECT.encode(),
        *(key.encode() for key in mine),
        digest.hex()[:16].encode(),
        digest,
        digest[7::-1],
    ]  # the number in the marks, its last byte first
    for rows in there.values():
        traces += [part for _, case, vector in rows for part in (case.path.encode(), vector)]
    assert all(holding(archive, trace) for trace in traces)  # the search for them can find
    outside = [Path(c.path) for _, c, _ in there["."] if archive not in Path(c.path).parents]

    receipt = forget(archive, SUBJECT)

    for trace in traces:
        assert holding(archive, trace) == []
    assert not list((archive / "photographs").iterdir())
    assert all(path.exists() for path in outside)
    assert receipt.cases == tuple(id_ for id_, _, _ in there["."])
    counts = (receipt.matching, receipt.photographs, receipt.left, receipt.decisions, receipt.uses)
    assert counts == (4, 2, 2, 6, 1)
    assert receipt.elsewhere["marks of training"] == 2
    assert Seen.load(archive / "encoder").among([digest, other]).tolist() == [False, True]
    assert set(saved_audit.decisions(archive)) == set(theirs)
    assert [use.get("query") for use in permission.read_log(archive)][-2:] == ["forgotten", "ab" * 8]
    # the log is whole, its ids point at nothing, and the receipt can be checked against it
    assert verify(archive, receipt.head).since == 0
    assert {seen.action for seen in read(archive, case=receipt.cases[0])} == {"case", "forget", "forgotten"}
    (*_, last) = read(archive)
    assert last.about == f"{receipt.number} {digest_of(receipt)}"
    with Archive.open(archive, read_only=True) as opened, pytest.raises(ArchiveError):
        opened.case(receipt.cases[0])
    # the receipt names nobody, and who knows the pseudonym can check it
    assert SUBJECT not in json.dumps(receipt.__dict__)
    salt = bytes.fromhex(receipt.salt)
    assert commitment(SUBJECT, salt) == receipt.subject
    assert commitment("another", salt) != receipt.subject
    with pytest.raises(ArchiveError, match="no case of this subject"):
        forget(archive, SUBJECT)


def test_on_request_the_photographs_outside_go_too(archive):
    paths = [Path(case.path) for _, case, _ in of_subject(archive)["."]]
    other = archive.parent / "copied.png"
    shutil.copy(paths[0], other)  # the same file, filed under another person
    (archive.parent / "o.csv").write_text("image,subject\ncopied.png,another\n")
    add_missing(archive, list(Manifest.read(archive.parent / "o.csv", collection="p").cases()))
    receipt = forget(archive, SUBJECT, files=True)
    assert not any(path.exists() for path in paths)
    assert other.exists()
    assert (receipt.photographs, receipt.left, receipt.copies) == (4, 0, 1)


def test_what_cannot_be_logged_is_not_begun(archive):
    (archive / "audit-log.jsonl").mkdir()
    with pytest.raises(AccessError):
        forget(archive, SUBJECT, files=True)
    assert len(of_subject(archive)["."]) == 4
    assert all(Path(case.path).exists() for _, case, _ in of_subject(archive)["."])


@pytest.mark.parametrize("where", ["remove.refresh", "remove.gallery.forget_missing"])
def test_interrupted_anywhere_nobody_is_named_and_it_can_be_run_again(archive, monkeypatch, where):
    def stop(*_, **__):
        raise KeyboardInterrupt

    photograph = Path(of_subject(archive)["."][0][1].path)  # outside of the archive: it stays
    monkeypatch.setattr(f"foveola.server.maintenance.{where}", stop)
    with pytest.raises(KeyboardInterrupt):
        forget(archive, SUBJECT)
    monkeypatch.undo()
    if where.endswith("missing"):  # matching still has them, and must not say so
        with Matcher.open(archive) as matcher:
            result = matcher.match(photograph)
        assert not result.in_archive
        assert SUBJECT not in {candidate.case.subject for candidate in result.candidates}
    receipt = forget(archive, SUBJECT)
    assert (len(receipt.cases), receipt.matching) == (4, 4)
    assert holding(archive, SUBJECT.encode()) == []
    verify(archive)
    assert [seen.action for seen in read(archive)][-1] == "forgotten"


def test_places_go_too(archive, monkeypatch):
    monkeypatch.setattr("foveola.regions.LEAST", 16)  # photographs to learn from; others
    regions.switch_on(archive)  # need not wait for 20
    assert forget(archive, SUBJECT).elsewhere == {"places": 4}
    assert regions.forget_missing(archive) == 0


def test_who_they_were_in_the_pacs_goes_too(archive):
    place = archive.with_name(f"{archive.name}.pacs")
    (place / "store").mkdir(parents=True)
    with Pseudonyms(place / "pseudonyms.sqlite") as names:
        made = names.reserve(
            Identity(patient_id="4711", issuer="", study="1.2", series="1.3", instance="1.4", sop_class="1.5")
        )
    path = place / "store" / made.pseudonym / f"{made.instances[0]}.dcm"
    path.parent.mkdir()
    with Archive.open(archive) as opened:
        shutil.copy(next(iter(opened.cases()))[1].path, path)
    add_missing(archive, [Case(image=path.name, path=str(path), subject=made.pseudonym)])
    receipt = forget(archive, made.pseudonym)
    assert receipt.elsewhere == {"from the PACS": 2}  # a file and an instance
    assert not path.exists()
    assert b"4711" not in (place / "pseudonyms.sqlite").read_bytes()


def test_the_running_service_forgets_too(archive):
    app = create_app(archive, settings=Settings(rate=1e6, burst=1e6))
    client = TestClient(app, follow_redirects=False)
    id_ = of_subject(archive)["."][1][0]
    for part in ("", "/picture", "/thumbnail"):
        assert client.get(f"/cases/{id_}{part}").status_code == 200
    mine = client.post(f"/cases/{id_}/like").headers["location"]
    other = client.post("/cases/1/like").headers["location"]
    for address in (mine, other):
        assert client.get(f"{address}/map/{id_}/case").status_code == 200
    forget(archive, SUBJECT)
    for part in ("", "/picture", "/thumbnail"):
        assert client.get(f"/cases/{id_}{part}").status_code == 404
    for part in ("", "/picture", "/thumbnail"):
        assert client.get(mine + part).status_code == 410
    assert client.get(f"{other}/map/{id_}/case").status_code == 404
    assert client.get(other).status_code == 200
    desk = app.state.service
    for kept in (desk._thumbnails, desk._pictures, desk._features):
        assert not [key for key in kept._things if key[0] == id_]
    for sent in desk.queries._sent.all():
        assert not [key for key in sent.maps._things if key[0] == id_]


def test_the_command_prints_a_receipt(archive):
    refused = subprocess.run(
        [sys.executable, "-m", "foveola", "forget", str(archive), SUBJECT],
        input="n\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert refused.returncode == 1
    assert len(of_subject(archive)["."]) == 4
    done = foveola("forget", archive, SUBJECT, "--collection", "p", "--yes")
    receipt = json.loads(done.stdout)
    assert receipt["cases"] == [13, 14, 15, 16]
    assert SUBJECT not in done.stdout + done.stderr
    assert "no case of this subject" in foveola("forget", archive, "x", "--yes", code=1).stderr


# A copy of an archive in use


def test_a_copy_is_whole(archive, tmp_path):
    with_accounts(archive, roles=("viewer",))
    Log(archive).append("anna", "case", [1])
    with (archive / "audit-log.jsonl").open("ab") as file:
        file.write(b'{"under way')
    with Archive.open(archive) as writing:  # open, so that the newest rows are in its log
        entry = next(case for _, case in writing.cases())
        writing.update_records([entry.__class__(**(entry.__dict__ | {"grade": 4}))])
        assert (archive / "archive.sqlite-wal").stat().st_size
        assert backup(archive, tmp_path / "copy") == 16
        wanted = writing.vectors()[1].copy()
        cases = list(writing.cases())
    for name in (".", gallery.FOLDER):
        with Archive.open(tmp_path / "copy" / name, read_only=True) as copied:
            assert len(copied) == 16
    with Archive.open(tmp_path / "copy", read_only=True) as copied:
        assert np.array_equal(copied.vectors()[1], wanted)
        assert list(copied.cases()) == cases
    assert verify(tmp_path / "copy").cut == ()
    for name in ("matching.toml", "encoder/encoder.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (archive / name).read_bytes()
    assert (tmp_path / "copy" / "accounts.sqlite").stat().st_mode & 0o777 == 0o600
    assert not list((tmp_path / "copy").rglob("*-wal"))
    client = TestClient(create_app(tmp_path / "copy"), follow_redirects=False)
    log_in(client, "viewer")
    assert client.get("/cases/1").status_code == 200


def test_a_copy_goes_nowhere_it_must_not(archive, tmp_path):
    (tmp_path / "there").mkdir()
    assert "exists" in foveola("backup", archive, tmp_path / "there", code=1).stderr
    assert "within" in foveola("backup", archive, archive / "copy", code=1).stderr
    assert "not an archive" in foveola("backup", tmp_path, tmp_path / "copy", code=1).stderr
    left = tmp_path / f".copy.00ff00ff.{2**22 + 1}"  # of an attempt that was killed
    left.mkdir()
    assert "16 cases" in foveola("backup", archive, tmp_path / "copy").stdout
    assert not left.exists()


def test_copies_made_while_somebody_writes_are_each_of_one_state(archive, tmp_path):
    program = """
import sys, dataclasses
from pathlib import Path
from foveola.archive import Archive
with Archive.open(Path(sys.argv[1])) as archive:
    cases = [case for _, case in archive.cases()]
    grade = 0
    while True:
        grade = (grade + 1) % 5
        archive.update_records([dataclasses.replace(case, grade=grade) for case in cases])
        print("begun", flush=True)
"""
    command = [sys.executable, "-c", program, str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            seen = []
            for n in range(3):
                backup(archive, tmp_path / str(n))
                with Archive.open(tmp_path / str(n), read_only=True) as copied:
                    seen.append({case.grade for _, case in copied.cases()})
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
    assert all(len(grades) == 1 for grades in seen), seen


def test_a_receipt_is_hashed_as_anybody_can(archive):
    receipt = forget(archive, SUBJECT)
    values = json.loads(json.dumps(receipt.__dict__ | {"head": ""}))
    text = json.dumps(values, sort_keys=True)
    assert digest_of(receipt) == hashlib.sha256(text.encode()).hexdigest()
