"""What is fetched and what is not, with a PACS that is a few lists."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("dicomweb_client")

from foveola.errors import ArchiveError, ImageError, PacsError
from foveola.server.dicom.pull import Point, by_changes, by_query, has_changes, pull
from foveola.server.dicom.web import Reference

IMAGE, REPORT = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.840.10008.5.1.4.1.1.88.33"


class Lists:
    """A PACS: studies with instances, and Orthanc's list of changes."""

    url, host = "http://pacs/dicom-web", "pacs"

    def __init__(self, counts=True):
        self.held, self.counts, self.asked, self.filters = {}, counts, [], None
        self.changes, self.gone = [], set()

    def add(self, study, instance, sop_class=IMAGE):
        self.held.setdefault(study, []).append(Reference(study, "s", instance, sop_class))
        number = 3 * len(self.changes) + 1  # other changes lie between
        self.changes.append((number, instance, sop_class))

    def studies(self, filters):
        self.filters = filters
        return [(uid, len(held) if self.counts else None) for uid, held in self.held.items()]

    def instances(self, study):
        self.asked.append(study)
        return self.held[study]

    def retrieve(self, reference):
        return reference.instance.encode()

    def get_json(self, url):
        if "/instances/" in url:
            id_ = url.split("/")[4]
            found = {instance: sop_class for _, instance, sop_class in self.changes}
            return None if id_ in self.gone else {"SopClassUid": found[id_]}
        if url.endswith("?last"):
            return {"Changes": [], "Done": True, "Last": self.changes[-1][0] if self.changes else 0}
        since = int(url.split("since=")[1].split("&")[0])
        later = [change for change in self.changes if change[0] > since]
        page = [{"Seq": number, "ID": id_, "ChangeType": "NewInstance"} for number, id_, _ in later[:2]]
        return {"Changes": page, "Done": len(later) <= 2, "Last": 0}

    def get_bytes(self, url):
        return url.split("/")[4].encode()


@pytest.fixture(params=["qido", "qido without counts", "orthanc"])
def way(request):
    """A PACS and how to learn of what is new there."""
    pacs = Lists(counts=request.param == "qido")
    if request.param == "orthanc":
        return SimpleNamespace(pacs=pacs, new=lambda point: by_changes(pacs, point, {IMAGE}))
    return SimpleNamespace(pacs=pacs, new=lambda point: by_query(pacs, point, {IMAGE}, days=0))


def fetched(way, point, save=lambda: None):
    taken = []
    pulled = pull(way.new(point), lambda data: taken.append(data.decode()) is None, save)
    assert pulled.added == len(taken)
    return taken


def test_only_what_is_new_is_fetched_and_only_images(way):
    point = Point("x")
    assert fetched(way, point) == []
    way.pacs.add("1", "1.1")
    way.pacs.add("1", "1.2", REPORT)
    way.pacs.add("1", "1.3")
    way.pacs.add("2", "2.1")
    assert fetched(way, point) == ["1.1", "1.3", "2.1"]
    assert fetched(way, point) == []
    way.pacs.add("1", "1.4")
    assert fetched(way, point) == ["1.4"]
    way.pacs.add("2", "2.2", "")  # a class that is not said may be an image
    assert fetched(way, point) == ["2.2"]


def test_a_pull_that_is_cut_off_goes_on_with_what_it_had_in_hand(way, tmp_path):
    for number in range(5):
        way.pacs.add("1", f"1.{number}")
    kept, taken, point = tmp_path / "point", [], Point("x")

    def take(data):
        if len(taken) == 3:
            raise ArchiveError("the disk is full")
        taken.append(data.decode())
        return True

    with pytest.raises(ArchiveError):
        pull(way.new(point), take, lambda: point.save(kept))
    assert taken == ["1.0", "1.1", "1.2"]
    assert fetched(way, Point.load(kept, "x")) == ["1.3", "1.4"]


def test_what_cannot_be_used_is_told_and_not_asked_for_again(way):
    for number in range(3):
        way.pacs.add("1", f"1.{number}")
    point = Point("x")

    def take(data):
        if data == b"1.1":
            raise ImageError("too small")
        return data != b"1.2"

    pulled = pull(way.new(point), take, lambda: None)
    assert (pulled.added, pulled.known, pulled.refused) == (1, 1, ["too small"])
    assert fetched(way, point) == []


def test_a_study_whose_number_has_not_changed_is_not_asked(tmp_path):
    pacs, point = Lists(), Point("x")
    pacs.add("1", "1.1")
    pacs.add("2", "2.1")
    for _ in range(2):
        for each in by_query(pacs, point, {IMAGE}, days=0):
            each.done()
    assert pacs.asked == ["1", "2"]


def test_a_study_is_asked_again_until_all_of_it_was_taken():
    pacs, point = Lists(), Point("x")
    pacs.add("1", "1.1")
    next(by_query(pacs, point, {IMAGE}, days=0))  # cut off before it was done
    (each,) = by_query(pacs, point, {IMAGE}, days=0)
    assert each.fetch() == b"1.1"


def test_studies_beyond_the_window_are_forgotten():
    pacs, point = Lists(), Point("x")
    pacs.add("1", "1.1")
    for each in by_query(pacs, point, {IMAGE}, days=30, modality="OP"):
        each.done()
    assert pacs.filters["ModalitiesInStudy"] == "OP"
    assert pacs.filters["StudyDate"].endswith("-")
    assert len(point.studies) == len(point.counts) == 1
    pacs.held.clear()
    assert list(by_query(pacs, point, {IMAGE}, days=30)) == []
    assert (point.studies, point.counts) == ({}, {})


def test_an_orthanc_that_began_anew_is_read_from_its_beginning():
    pacs, point = Lists(), Point("x", last=5000)
    pacs.add("1", "1.1")
    (each,) = by_changes(pacs, point, {IMAGE})
    assert each.fetch() == b"1.1"


def test_an_instance_that_was_removed_since_is_passed_over():
    pacs, point = Lists(), Point("x")
    pacs.add("1", "1.1")
    pacs.add("1", "1.2")
    pacs.gone.add("1.1")
    assert [each.fetch() for each in by_changes(pacs, point, {IMAGE})] == [b"1.2"]


def test_a_pacs_without_a_list_of_changes_is_told():
    pacs = Lists()
    assert has_changes(pacs)
    pacs.get_json = lambda url: None
    assert not has_changes(pacs)
    with pytest.raises(PacsError, match="no list of changes"):
        list(by_changes(pacs, Point("x"), {IMAGE}))
    pacs.get_json = lambda url: {"Changes": [{"Seq": "x"}], "Done": True, "Last": 1}
    with pytest.raises(PacsError, match="can't be read"):
        list(by_changes(pacs, Point("x"), {IMAGE}))


def test_a_point_is_kept_and_holds_no_uid(tmp_path):
    pacs, point = Lists(), Point("x", last=7)
    pacs.add("1.2.840.99", "1.2.840.100")
    for each in by_query(pacs, point, {IMAGE}, days=0):
        each.done()
    point.save(tmp_path / "point")
    assert Point.load(tmp_path / "point", "x") == point
    assert "1.2.840" not in (tmp_path / "point").read_text()
    assert Point.load(tmp_path / "point", "another PACS") == Point("another PACS")
    assert Point.load(tmp_path / "none", "x") == Point("x")


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"format": 1, "source": "x"})])
def test_a_damaged_point_is_told(tmp_path, text):
    (tmp_path / "point").write_text(text)
    with pytest.raises(PacsError, match="remove it to begin anew"):
        Point.load(tmp_path / "point", "x")
