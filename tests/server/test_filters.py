"""What is ticked, as a condition inside the search."""

import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.server import create_app
from foveola.server.services.filters import Chosen
from server.conftest import send
from server.test_pages import found


def test_conditions_by_hand():
    assert Chosen().condition() is None
    ticked = Chosen(("2", "none"), "left", "D", 'camera model:O\'Hara "1"', "40", "60", "sex = 'F'")
    assert ticked.condition() == (
        "(grade in (2) or grade is null) and (eye = 'left') and (findings has 'D')"
        " and (\"camera model\" = 'O''Hara \"1\"') and (age >= 40 and age <= 60) and (sex = 'F')"
    )
    assert Chosen(youngest="x", oldest="70").condition() == "(age <= 70)"


def test_the_address_takes_all_along():
    assert Chosen().address() == ""
    assert Chosen(("2",), where="age > 5", count=3).address() == "&grade=2&where=age+%3E+5&count=3"


@pytest.fixture(scope="module")
def with_cameras(served, tmp_path_factory):
    """The archive with a camera, an age and an outcome for each photograph."""
    import shutil
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("cameras") / "A"
    shutil.copytree(served, folder)
    with Archive.open(folder) as archive:
        known = [
            replace(
                case,
                extra={
                    **case.extra,
                    "camera": ("Topcon", "Canon")[id_ % 2],
                    "age": 40 + id_,
                    "outcome": f"outcome {id_ % 3}",
                },
            )
            for id_, case in archive.cases()
        ]
        assert archive.update_records(known) == len(known)
    return folder


def test_camera_and_age_act_within_the_search(with_cameras, photographs):
    with TestClient(create_app(with_cameras), follow_redirects=False) as client:
        token = send(client, photographs[5])
        page = client.get(f"/queries/{token}").text
        assert 'value="camera:Topcon"' in page
        assert 'name="youngest"' in page
        ticked = {"camera": "camera:Topcon", "youngest": "45", "oldest": "60", "count": 4}
        ids = found(client.get(f"/queries/{token}", params=ticked).text)
        every = found(client.get(f"/queries/{token}", params={"count": 100}).text)
        assert ids == [i for i in every if i % 2 == 0 and 45 <= 40 + i <= 60][:4]
        assert len(ids) == 4
        assert "outcome 1" in client.get("/cases/1").text


def test_values_are_counted_the_commonest_first(with_cameras):
    with Archive.open(with_cameras) as archive:
        assert archive.values("camera") == {"Canon": 16, "Topcon": 16}
        assert list(archive.values("outcome", most=1)) == ["outcome 1"]
        assert archive.values("device") == {}
