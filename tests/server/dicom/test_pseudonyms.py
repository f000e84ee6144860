"""The file that knows who is who."""

import sqlite3
import stat
import subprocess
import sys

import pytest

from foveola.errors import PacsError
from foveola.server.dicom.patients import EARLIEST, LATEST, Identity
from foveola.server.dicom.pseudonyms import Original, Pseudonyms


def identity(patient="4711", instance="1.2.3", **more):
    said = {"issuer": "", "study": "1.2", "series": "1.2.1", "sop_class": "1.9", "frames": 1}
    return Identity(patient_id=patient, instance=instance, **(said | more))


@pytest.fixture
def names(tmp_path):
    with Pseudonyms(tmp_path / "names.db") as made:
        yield made


def test_a_patient_has_one_pseudonym_and_one_shift(names):
    first = names.reserve(identity(instance="1.2.3"))
    second = names.reserve(identity(instance="1.2.4", study="1.5"))
    assert (first.pseudonym, first.shift_days) == (second.pseudonym, second.shift_days)
    assert first.instances != second.instances
    assert first.study != second.study
    assert -LATEST <= first.shift_days <= -EARLIEST


def test_the_same_object_has_the_same_names_again(names):
    assert names.reserve(identity(frames=3)) == names.reserve(identity(frames=3))
    assert len(set(names.reserve(identity(frames=3)).instances)) == 3


def test_one_number_of_two_issuers_is_two_patients(names):
    here, there = (names.reserve(identity(instance=i, issuer=i)) for i in ("1.1", "1.2"))
    assert here.pseudonym != there.pseudonym


def test_without_a_number_every_study_has_a_patient_of_its_own(names):
    one = names.reserve(identity(patient="", instance="1.1", study="1.7"))
    same = names.reserve(identity(patient="", instance="1.2", study="1.7"))
    other = names.reserve(identity(patient="", instance="1.3", study="1.8"))
    assert one.pseudonym == same.pseudonym != other.pseudonym
    assert names.originals(one.instances)[one.instances[0]].patient_id == ""


def test_pseudonyms_do_not_follow_from_what_they_stand_for(tmp_path):
    made = []
    for n in range(2):
        with Pseudonyms(tmp_path / f"{n}.db") as names:
            made.append(names.reserve(identity()))
    assert made[0].pseudonym != made[1].pseudonym
    assert made[0].instances != made[1].instances


def test_the_way_back_leads_to_the_original(names):
    made = names.reserve(identity(frames=2, issuer="clinic"))
    found = names.originals([*made.instances, "2.25.1"])
    assert found[made.instances[1]] == Original(
        patient_id="4711",
        issuer="clinic",
        study="1.2",
        series="1.2.1",
        instance="1.2.3",
        sop_class="1.9",
        frame=2,
        pseudonym=made.pseudonym,
        shift_days=made.shift_days,
    )
    assert set(found) == set(made.instances)


def test_what_was_begun_is_known_until_it_is_indexed(names):
    made = names.reserve(identity(frames=2))
    assert names.unfinished() == [(made.pseudonym, uid) for uid in made.instances]
    names.indexed(made.instances[:1])
    assert names.unfinished() == [(made.pseudonym, made.instances[1])]
    names.drop(made.instances[1:])
    assert names.unfinished() == []


def test_only_the_owner_may_read_it(tmp_path):
    path = tmp_path / "names.db"
    path.touch(mode=0o666)
    with Pseudonyms(path) as names:
        names.reserve(identity())
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_refused_inside_the_archive(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "A")
    (tmp_path / "A").mkdir()
    for inside in ("A/names.db", "link/names.db"):
        with pytest.raises(PacsError, match="name a file outside the archive"):
            Pseudonyms(tmp_path / inside, outside=[tmp_path / "A"])
    assert list((tmp_path / "A").iterdir()) == []


def test_a_forgotten_patient_leaves_no_byte(names):
    kept = names.reserve(identity(patient="other", instance="1.9"))
    made = names.reserve(identity(patient="Mustermann-4711", instance="1.8"))
    assert b"Mustermann" in names.path.read_bytes()
    assert names.forget(made.pseudonym) == 1
    assert names.originals(made.instances) == {}
    assert set(names.originals(kept.instances)) == set(kept.instances)
    assert b"Mustermann" not in names.path.read_bytes()
    assert names.reserve(identity(patient="Mustermann-4711")).pseudonym != made.pseudonym


def test_another_kind_of_file_is_told(tmp_path):
    path = tmp_path / "names.db"
    path.write_text("no database, but a letter " * 100)
    with pytest.raises(PacsError, match="damaged or of another kind"):
        Pseudonyms(path)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE a (b)")
    db.close()
    with pytest.raises(PacsError, match="of another kind"):
        Pseudonyms(foreign)
    with pytest.raises(PacsError, match=r"nowhere.* can't be used: No such file"):
        Pseudonyms(tmp_path / "nowhere" / "names.db")


RESERVE = """
import sys
from pathlib import Path
from foveola.server.dicom.patients import Identity
from foveola.server.dicom.pseudonyms import Pseudonyms
said = {"issuer": "", "study": "1.2", "series": "1.2.1", "sop_class": "1.9", "frames": 1}
with Pseudonyms(Path(sys.argv[1])) as names:
    for n in range(40):
        made = names.reserve(Identity(patient_id=str(n % 5), instance=f"1.{n}", **said))
        print(made.pseudonym, made)
"""


def test_two_processes_agree_on_every_name(tmp_path):
    command = [sys.executable, "-c", RESERVE, tmp_path / "names.db"]
    two = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=120)[0].splitlines() for process in two)
    assert [process.returncode for process in two] == [0, 0]
    assert len(first) == 40
    assert first == second
    assert len({line.split()[0] for line in first}) == 5


def told_by(path):
    """All that the file says."""
    with Pseudonyms(path) as names:
        said = [names.unfinished(), names.renamed("1.2.0"), names.renamed("1.2.5")]
        for n in range(0, 6, 2):  # whom an image would be given to
            made = names.reserve(identity(patient=str(n // 2), instance=f"1.2.{n}", name="a", birth=str(n)))
            said += [made, names.originals(made.instances)]
    return said


def test_every_flip_and_cut_is_an_error_or_changes_nothing(tmp_path):
    whole, spoilt = tmp_path / "names.db", tmp_path / "spoilt.db"
    with Pseudonyms(whole) as names:
        for n in range(6):
            made = names.reserve(identity(patient=str(n // 2), instance=f"1.2.{n}", name="a", birth=str(n - n % 2)))
            if n % 2:
                names.indexed(made.instances)
        names.forget(made.pseudonym)
        names.reserve(identity(patient="2", instance="1.2.4", name="a", birth="4"))
        names.reserve(identity(patient="2", instance="1.2.5", name="b", birth="5"))
    data, said = whole.read_bytes(), told_by(whole)
    assert told_by(whole) == said
    held = [at for at, byte in enumerate(data) if byte]
    places = [*range(100), *held[:: max(1, len(held) // 500)]]
    changed = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in places]
    errors = 0
    for one in [*changed, *(data[:end] for end in range(100, len(data), 1999))]:
        spoilt.write_bytes(one)
        spoilt.with_name("spoilt.db-journal").unlink(missing_ok=True)
        try:
            assert told_by(spoilt) == said
        except PacsError as error:
            assert "can't be used" in str(error)  # noqa: PT017
            errors += 1
    assert errors > len(places) // 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE patients SET patient = '9' WHERE patient = '4711'",
        "UPDATE patients SET shift_days = shift_days - 1",
        "UPDATE instances SET patient = 2 WHERE patient = 1",
        "DELETE FROM instances WHERE patient = 2",
        "DELETE FROM seen",
        "UPDATE sums SET sum = sum + 1 WHERE name = 'uids'",
        "DELETE FROM sums WHERE name = 'others'",
    ],
)
def test_a_row_that_is_not_what_was_written_is_told(names, change):
    for n in range(2):
        names.reserve(identity(patient=f"471{n + 1}", instance=f"1.{n}", study=f"1.{n}", name="a", birth=str(n)))
    names.close()
    db = sqlite3.connect(names.path)
    with db:
        db.execute(change)
    db.close()
    with pytest.raises(PacsError, match="damaged or of another kind"):
        Pseudonyms(names.path)
