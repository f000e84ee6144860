"""Requests made up from /api/openapi.json: none is a fault, and every answer is as described."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import positive_data_acceptance

from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.server import create_app

EXAMPLES = 12  # requests for each operation


@pytest.fixture(scope="module")
def photographs(phantoms):
    return list(Manifest.read(phantoms, collection="p").cases())[:6]


@pytest.fixture(scope="module")
def folder(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema") / "A"
    add_missing(folder, photographs[:5])
    return folder


@pytest.fixture
def app(folder, photographs):  # one a test, as schemathesis ends its life after each
    made = create_app(folder, import_root=Path(photographs[0].path).parent)
    # hypothesis reads source by ast in this thread, as numpy does headers in the one that warms up
    assert made.state.service.ready(60.0)
    return made


@pytest.fixture
def session(app):
    with get_client(app) as made:
        yield made


@pytest.fixture
def schema(app):
    return schemathesis.openapi.from_asgi("/api/openapi.json", app)


def test_no_request_is_a_fault_and_every_answer_is_as_described(schema, session):
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        steady = settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @steady
        @given(case=operation.as_strategy())
        def check(case):
            answer = case.call(session=session, timeout=300)
            # no schema can say which bytes are a photograph, or which text is a condition
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])
            assert answer.status_code < 500 or answer.status_code == 503
            if answer.status_code >= 400:
                assert isinstance(answer.json()["detail"], str)

        check()
        seen.add((operation.method.upper(), operation.path))
    assert ("POST", "/api/v1/search") in seen
    assert ("DELETE", "/api/v1/cases/{id}") in seen
    assert len(seen) >= 16


def test_answers_to_real_requests_are_as_described(schema, session, photographs):
    files = {"photograph": Path(photographs[5].path).read_bytes()}
    asked = [
        ("POST", "/api/v1/search", {"files": files, "data": {"k": "3"}}, 200),
        ("POST", "/api/v1/read", {"files": {"left": files["photograph"]}}, 200),
        ("POST", "/api/v1/match", {"files": files}, 403),
        ("POST", "/api/v1/cases", {"files": files, "data": {"grade": "2", "findings": "D"}}, 201),
        ("POST", "/api/v1/cases", {"files": files, "data": {"grade": "2", "findings": "D"}}, 200),
        ("POST", "/api/v1/cases", {"files": files, "data": {"grade": "1"}}, 409),
        ("GET", "/api/v1/cases", {"params": {"where": "grade >= 0"}}, 200),
        ("POST", "/api/v1/jobs", {"json": {"kind": "settle"}}, 202),
        ("GET", "/api/v1/jobs", {}, 200),
        ("GET", "/api/v1/archive", {}, 200),
        ("GET", "/api/v1/metrics", {}, 200),
        ("POST", "/api/v1/search", {}, 422),
    ]
    for method, path, sent, status in asked:
        answer = session.request(method, path, **sent)
        assert answer.status_code == status, (path, answer.text)
        schema[path][method].validate_response(answer)
