"""POST /api/v1/search, /search/region, /read and /match: what is asked with photographs, which are not kept."""

from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import MatchAnswer, Order, ReadAnswer, RegionAnswer, SearchAnswer
from foveola.datasets.cells import visit_of
from foveola.errors import ArchiveError, ImageError, PairError
from foveola.matching import match as matching
from foveola.matching.pair import PRIOR
from foveola.records import Eye
from foveola.regions import Box
from foveola.regions import search as places
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import show_case
from foveola.server.dependencies import OnRegions, OnService, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)
UNKNOWN = "the archive does not know which photographs are whose, and of which eye"


@router.post("/search", response_model=SearchAnswer)
def search(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP, BMP or DICOM")],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Eye | None, Form()] = None,
    by: Annotated[Order | None, Form(description="learned where the archive learnt a label")] = None,
    label: Annotated[str | None, Form(description="of the order; the one most cases have")] = None,
) -> JSONResponse:
    """Find the cases most like a photograph. The photograph is not kept."""
    query = service.embed(photograph.file.read(), eye, *whose)
    return said(service.search_query(query, k, where, by=by, label=label or None).answer(show_case))


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


@router.post("/match", response_model=MatchAnswer)
def match(
    service: OnService,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    candidates: Annotated[int, Form(ge=1, le=1000, description="photographs to compare closely")] = matching.CANDIDATES,
    visit: Annotated[
        str | None, Form(description="when it was taken: months or an ISO date, as the archive has")
    ] = None,
    prior: Annotated[float, Form(gt=0, lt=1, description="chance, before looking, that there is another")] = PRIOR,
) -> JSONResponse:
    """Look for other photographs of the eye that a photograph shows.

    Matching is sensitive: this is refused (403) until `foveola matching on` allows it, and every
    use is logged before it is answered. The photograph is not kept.
    """
    try:
        result = service.models.match(photograph.file.read(), candidates, visit_of(visit), prior, by="rest")
    finally:
        photograph.file.close()
    return said(matching.answer(result, service.retriever.archive, show_case))


@router.post("/search/region", response_model=RegionAnswer)
def search_region(
    regions: OnRegions,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    region: Annotated[
        str, Form(max_length=200, description="x,y,width,height in shares of the picture, or x,y for a point")
    ],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Eye | None, Form()] = None,
) -> JSONResponse:
    """Find the cases with a place most like one of a photograph. The photograph is not kept."""
    box = Box.parse(region)
    result = regions.of_file(photograph.file.read(), box, k, where, eye=eye, **whose._asdict())
    return said(places.answer(result, show_case))
