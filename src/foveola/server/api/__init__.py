"""REST: answers of `foveola.answers` over HTTP. /api/openapi.json describes them."""

from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from foveola.serial import Answer

VERSION = "1"


class Fault(BaseModel):
    """Say why something can't be done."""

    detail: str = Field(description="one sentence")


FAULTS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Fault, "description": "it can't be done; detail says why"},
    503: {"model": Fault, "description": "not now; ask again after Retry-After seconds"},
}


def said(answer: Answer, status: int = 200, **headers: str) -> JSONResponse:
    """Return an answer as JSON, by the rules of `foveola.serial` and no others."""
    return JSONResponse(answer.to_dict(), status, headers)
