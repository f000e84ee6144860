"""One person is one identifier, however it is written, at every door; and a hole is no person."""

import io
import json
import sqlite3
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from commands import foveola
from foveola.archive import Archive, Entry
from foveola.client import _json
from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import Entry as Line
from foveola.datasets.splits import split_by_subject
from foveola.errors import NoCaseError
from foveola.indexing import add_missing
from foveola.records import Case, identifier, is_missing
from foveola.retrieval import Retriever
from foveola.server import create_app
from foveola.server.maintenance import remove_cases
from foveola.server.maintenance.remove import commitment, forget

PLAIN = "M\u00fcller 2042"
SPELT = {
    "plain": PLAIN,
    "after": PLAIN + "  ",
    "before": "\t" + PLAIN,
    "no-break space": "\u00a0" + PLAIN + "\u202f",
    "em space": PLAIN + "\u2003",
    "ideographic space": "\u3000" + PLAIN,
    "decomposed": PLAIN.replace("\u00fc", "u\u0308"),
    "byte order mark": "\ufeff" + PLAIN,
    "zero-width space": "M\u00fcller\u200b 2042",
    "joiner": PLAIN + "\u200d",
    "non-joiner": "\u200c" + PLAIN,
    "word joiner": "M\u00fcller 20\u206042",
    "soft hyphen": "M\u00fcl\u00adler 2042",
    "direction marks": "\u200e" + PLAIN + "\u200f",
    "embedding": "\u202a" + PLAIN + "\u202c",
    "isolate": "\u2068" + PLAIN + "\u2069",
    "variation selector": PLAIN + "\ufe0f",
    "several": "\u00a0\ufeff " + PLAIN.replace("\u00fc", "u\u0308\u200d") + "\u2003\u200b",
}
OTHERS = ("M\u00fcller2042", "m\u00fcller 2042", "M\u00fcller  2042", "Muller 2042", "2042", "02042")
spelt = pytest.mark.parametrize("name", sorted(SPELT))


@spelt
def test_every_spelling_has_one_normal_form(name):
    assert identifier(SPELT[name]) == PLAIN
    assert Case(image="a", path="/a", subject=SPELT[name]).identity == ("subject", f"\0{PLAIN}")
    assert Case(image="a", path="/a", collection=SPELT[name]).collection == PLAIN


@pytest.mark.parametrize("other", OTHERS)
def test_what_differs_in_what_can_be_seen_stays_another(other):
    assert identifier(other) == other


@given(st.text())
def test_a_normal_form_is_its_own(text):
    once = identifier(text)
    assert identifier(once) == once
    assert identifier(f" \u200b{text}\u00a0") == once


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "nan", "NaN", "NA", "na", "N/A", "None", "null", "NULL", "<NA>", "NaT", " nan\u00a0"]
)
def test_what_stands_for_unknown_is_missing(text):
    assert is_missing(text)


@pytest.mark.parametrize("text", ["N", "no", "0", "Nana", "NA1", "-", "none left"])
def test_a_label_that_only_looks_like_it_stays(text):
    assert not is_missing(text)


# --- the doors of records ---


def csv_of(folder, subject):
    (folder / "t.csv").write_text(f"image,subject\na.png,{subject}\n", encoding="utf-8")
    return next(Manifest.read(folder / "t.csv", check_files=False).cases()).subject


def frame_of(folder, subject):
    frame = pd.DataFrame({"image": ["a.png"], "subject": [subject]})
    return next(Manifest.from_frame(frame, folder, check_files=False).cases()).subject


def split_of(folder, subject):
    table = pd.DataFrame({"image": ["a", "b"], "subject": [PLAIN, subject]})
    assert len(set(split_by_subject(table, {"x": 0.5, "y": 0.5}))) == 1
    return PLAIN


def line_of(folder, subject):
    return Line("train", f"{subject}_left", 0, folder / "train.txt", 1).subject


def case_of(folder, subject):
    return Case(image="a", path="/a", subject=subject).subject


@pytest.mark.parametrize("door", [csv_of, frame_of, split_of, line_of, case_of])
@spelt
def test_a_record_has_the_normal_form_at_every_door(door, name, tmp_path):
    assert door(tmp_path, SPELT[name]) == PLAIN


def test_a_header_with_what_is_not_seen_is_the_column(tmp_path):
    text = "image,sub\u200bject\u00a0\na.png,2042\n"
    (tmp_path / "t.csv").write_text("\ufeff" + text, encoding="utf-8")
    (case,) = Manifest.read(tmp_path / "t.csv", check_files=False).cases()
    assert (case.subject, case.extra) == ("2042", {})


# --- an archive of an older version, in which each spelling was a person ---

WIDE = 4


def odd_archive(folder, spellings, collection="p"):
    """An archive with one case a spelling, as an older version stored them."""
    rng = np.random.default_rng(0)
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=WIDE) as archive:
        made = rng.normal(size=(len(spellings) + 1, WIDE)).astype(np.float32)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        archive.add(
            [
                Entry(
                    case=Case(image=f"{n}.png", path=f"/{n}.png", subject=f"s{n}", collection="p"),
                    descriptor=vector,
                    digest=bytes([n] * 16),
                    size=1,
                    mtime_ns=1,
                )
                for n, vector in enumerate(made)
            ]
        )
    db = sqlite3.connect(folder / "archive.sqlite")
    with db:
        for n, subject in enumerate(spellings):
            db.execute(
                "UPDATE cases SET subject = ?, collection = ? WHERE image = ?", (subject, collection, f"{n}.png")
            )
        db.execute("DROP TABLE checks")  # which came later
    db.close()
    return folder


@pytest.fixture
def old(tmp_path):
    return odd_archive(tmp_path / "A", list(SPELT.values()), "p\u00a0")


@pytest.mark.parametrize("name", ["plain", "em space", "decomposed", "several"])
def test_removing_finds_every_spelling_of_an_old_archive(old, name):
    assert remove_cases(old, subject=SPELT[name], collection=" p") == len(SPELT)
    with Archive.open(old, read_only=True) as archive:
        assert [case.subject for _, case in archive.cases()] == [f"s{len(SPELT)}"]
    with pytest.raises(NoCaseError):
        remove_cases(old, subject=PLAIN)


def test_forgetting_finds_every_spelling_of_an_old_archive(old):
    receipt = forget(old, "\u00a0" + PLAIN)
    assert len(receipt.cases) == len(SPELT)
    assert receipt.subject == commitment(PLAIN, bytes.fromhex(receipt.salt))
    data = b"".join(path.read_bytes() for path in old.glob("archive.sqlite*"))
    assert b"2042" not in data


def test_an_old_archive_is_searched_as_if_it_were_spelt_rightly(old):
    with Archive.open(old, read_only=True) as archive:
        _, matrix = archive.vectors()
        found = archive.search(matrix[0], 5, exclude_identity=("subject", f"p\0{PLAIN}"))
        assert found.excluded_same_subject == len(SPELT)
        with archive.state() as state:
            assert len(set(state.people().tolist())) == 2
            assert state.of_identity(("subject", f"p\0{PLAIN}")).sum() == len(SPELT)
        assert archive.info().subjects == 2
        for where in (
            f"subject = '{SPELT['several']}'",
            f"subject in ('x', '{PLAIN}')",
            f"subject not in ('s{len(SPELT)}')",
            f"subject <> 's{len(SPELT)}'",
            f"collection = 'p' and subject != 's{len(SPELT)}'",
        ):
            assert archive.page(where)[1] == len(SPELT), where
        assert archive.page("collection = 'p'")[1] == len(SPELT) + 1


# --- the service, its client and the command line ---


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms, collection="p").cases())


@pytest.fixture(scope="module")
def served(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "A"
    add_missing(folder, cases[:4])
    with TestClient(create_app(folder)) as made:
        made.folder = folder
        yield made


def post(client, case, **fields):
    files = {"photograph": ("a.png", Path(case.path).read_bytes(), "image/png")}
    return client.post("/api/v1/cases", files=files, data=fields)


def wait(client, job):
    while job["state"] in ("queued", "running"):
        time.sleep(0.05)
        job = client.get(f"/api/v1/jobs/{job['id']}").json()
    return job


def test_a_person_sent_in_many_spellings_is_found_and_removed_whole(served, cases):
    names = ("after", "no-break space", "em space", "decomposed", "several")
    for case, name in zip(cases[4:], names, strict=False):
        made = post(served, case, subject=SPELT[name], collection="q\u2003", eye="left")
        assert made.status_code == 201, made.text
        record = made.json()["case"]
        assert (record["subject"], record["collection"]) == (PLAIN, "q")
    for name in ("plain", "several"):
        asked = {"where": f"subject = '{SPELT[name]}' and collection = ' q'"}
        assert served.get("/api/v1/cases", params=asked).json()["total"] == len(names)
    wanted = {"kind": "remove", "subject": SPELT["em space"], "collection": "\u00a0q"}
    job = wait(served, served.post("/api/v1/jobs", json=wanted).json())
    assert (job["state"], job["result"]) == ("done", {"removed": len(names)})


@pytest.mark.parametrize("marker", ["nan", "NA", "None", "null", "<NA>", " "])
def test_what_is_sent_as_unknown_is_unknown(served, cases, marker):
    extra = json.dumps({"camera": marker, "sex": None, "site": "N"})
    made = post(served, cases[12], subject=marker, eye=marker, visit=marker, grade=marker, findings=marker, extra=extra)
    assert made.status_code == 201, made.text
    record = made.json()["case"]
    assert {record[name] for name in ("subject", "eye", "visit", "grade", "findings")} == {None}
    assert record["extra"] == {"site": "N"}
    assert served.delete(f"/api/v1/cases/{record['id']}").status_code == 204


def test_the_client_sends_no_hole_of_a_table():
    assert _json({"age": float("nan"), "site": "N", "grade": 2.0}) == '{"site": "N", "grade": 2.0}'


@pytest.mark.parametrize("subject", ["1.23457E+11", "2-Jan", "2026-03-31", "1234567890123456.0", "#REF!"])
def test_damage_of_a_spreadsheet_is_refused_when_sent(served, cases, subject):
    made = post(served, cases[12], subject=subject)
    assert made.status_code == 422
    assert "spreadsheet" in made.json()["detail"]
    assert subject not in made.text


def test_a_whole_number_sent_as_a_float_is_that_number(served, cases):
    record = post(served, cases[13], subject="10003.0", findings="N").json()["case"]
    assert (record["subject"], record["findings"]) == ("10003", ["N"])


@pytest.mark.parametrize("around", ["{}", " {}\u2003", "\u200b\u00a0{}\ufeff"])
def test_a_search_leaves_out_the_person_however_it_is_told(served, cases, around):
    with Retriever.open(served.folder) as retriever:
        asked, subject = Path(cases[20].path), cases[0].subject
        told = around.format(subject)
        found = retriever.search(asked, 2, subject=told, collection="p\u2003")
        assert found.excluded_same_subject == sum(c.subject == subject for c in cases[:4])
        people = retriever.search_person(asked, None, 2, subject=told, collection="p\u2003")
        assert people.excluded_same_subject == len({c.visit for c in cases[:4] if c.subject == subject})
        assert retriever.search(asked, 2, subject="nan").query.subject is None


@pytest.fixture(scope="module")
def spelt_csv(cases, tmp_path_factory):
    """A manifest of five persons for whoever trusts what is written."""
    folder = tmp_path_factory.mktemp("spelt")
    out = io.StringIO("image,subject\n")
    out.seek(0, io.SEEK_END)
    for case, text in zip(cases, ("2042", "\u200b2042", "\u00a02042", "2042\u2003", "20\u00ad42"), strict=False):
        out.write(f"{case.path},{text}\n")
    (folder / "t.csv").write_text(out.getvalue() + f"{cases[6].path},7\n", encoding="utf-8")
    return folder / "t.csv"


def test_search_and_forget_on_the_command_line_leave_nobody_in(spelt_csv, cases, tmp_path):
    foveola("index", tmp_path / "A", spelt_csv, "--collection", "c\u00a0")
    other = Path(cases[20].path)
    told = ("--subject", "\u00a020\u200b42 ", "--collection", "\u2003c", "--json")
    found = json.loads(foveola("search", tmp_path / "A", other, *told).stdout)
    assert (found["excluded_same_subject"], found["query"]["subject"]) == (5, "2042")
    done = foveola("forget", tmp_path / "A", " 20\u200b42\u2003", "--yes", "--collection", "c ")
    assert len(json.loads(done.stdout)["cases"]) == 5
    left = json.loads(foveola("info", tmp_path / "A", "--json").stdout)
    assert (left["cases"], left["subjects"]) == (1, 1)
    assert "removed" in foveola("remove", tmp_path / "A", "--subject", "\u00a07 ").stdout
