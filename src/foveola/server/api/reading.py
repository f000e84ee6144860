"""POST /api/v1/read: both eyes of a person in, probabilities of findings out."""

from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import ReadAnswer
from foveola.errors import ArchiveError, ImageError, PairError
from foveola.records import Eye
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import show_case
from foveola.server.dependencies import OnService, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)
UNKNOWN = "the archive does not know which photographs are whose, and of which eye"


@router.post("/read", response_model=ReadAnswer)
def read(
    service: OnService,
    whose: Whose,
    left: Annotated[Upload | None, File(description="photograph of the left eye")] = None,
    right: Annotated[Upload | None, File(description="photograph of the right eye")] = None,
    k: Annotated[int, Form(ge=0, le=100, description="similar people wanted")] = 5,
    where: Annotated[str | None, Form(description="condition on these")] = None,
) -> JSONResponse:
    """Say how probable each finding is, from the photographs of a person's eyes or of one.

    The photographs are not kept.
    """
    given: dict[Eye, Upload | None] = {"left": left, "right": right}
    sent = {eye: upload.file.read() for eye, upload in given.items() if upload is not None}
    if not sent:
        raise HTTPException(422, "no photograph came; send left, right, or both")
    reading = service.models.read(sent)
    try:
        similar = service.models.similar(sent, k, where, **whose._asdict()).hits if k else ()
    except PairError:
        raise  # and so is the reading refused, which took them for two eyes
    except ArchiveError:
        return said(reading.answer(missing=UNKNOWN, show=show_case))
    except ImageError as error:  # by the archive's own encoder
        return said(reading.answer(missing=str(error), show=show_case))
    return said(reading.answer(similar, show=show_case))
