"""The interface for programs."""

import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.encoders.release import DEFAULT
from foveola.indexing import open_archive
from foveola.retrieval import Retriever
from foveola.server import create_app


def ask(client, path, **fields):
    files = {"photograph": ("q.png", path.read_bytes(), "image/png")}
    return client.post("/api/v1/search", files=files, data=fields)


def test_a_search_gives_what_python_gives(client, served, photographs):
    with Retriever.open(served) as retriever:
        wanted = retriever.search(photographs[2], 5, where="grade >= 1")
    said = ask(client, photographs[2], k=5, where="grade >= 1").json()
    assert [hit["case"]["id"] for hit in said["hits"]] == [hit.id for hit in wanted.hits]
    assert [hit["similarity"] for hit in said["hits"]] == pytest.approx(
        [hit.similarity for hit in wanted.hits], abs=1e-6
    )
    assert said["considered"] == wanted.considered
    assert said["excluded_same_subject"] == wanted.excluded_same_subject
    assert said["in_archive"] is True
    assert said["trust"]["sufficient"] is wanted.trust.sufficient
    assert said["hits"][0]["trust"] is None  # eight people are too few to say


def test_a_case(client, served):
    with Archive.open(served, read_only=True) as archive:
        case = archive.case(4)
    said = client.get("/api/v1/cases/4").json()
    assert (said["id"], said["subject"], said["grade"]) == (4, case.subject, case.grade)
    assert "path" not in said
    assert "image" not in said


def test_pictures(client):
    for kind in ("picture", "thumbnail"):
        answer = client.get(f"/api/v1/cases/4/{kind}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.content.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("fields", "status"), [({"k": 0}, 422), ({"k": "many"}, 422), ({"where": "grade >"}, 422), ({"eye": "both"}, 422)]
)
def test_what_cannot_be_asked_is_said_in_one_sentence(client, photographs, fields, status):
    answer = ask(client, photographs[0], **fields)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_what_is_not_there(client):
    for address in ("/api/v1/cases/9999", "/api/v1/cases/9999/thumbnail", "/api/v1/nowhere"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert isinstance(answer.json()["detail"], str)


def test_the_archive_in_numbers(client, photographs):
    said = client.get("/api/v1/archive").json()
    assert said["cases"] == len(photographs)


def test_it_describes_itself(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/v1/search", "/api/v1/cases/{id}", "/api/v1/ready"} <= set(paths)
    assert not any("queries" in path for path in paths)


def test_an_empty_archive_is_healthy_but_not_ready(tmp_path):
    open_archive(tmp_path / "A", DEFAULT)[0].close()
    with TestClient(create_app(tmp_path / "A")) as bare:
        assert bare.get("/api/v1/health").json() == {"status": "ok"}
        assert bare.get("/api/v1/ready").status_code == 503
        assert bare.get("/").status_code == 200


def test_a_full_one_is_ready(client, photographs):
    assert client.get("/api/v1/ready").json() == {"status": "ready", "cases": len(photographs)}
