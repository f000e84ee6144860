"""More of the interface for programs: reading, matching, cases, jobs, numbers."""

from fastapi import APIRouter

from foveola.service.rest import cases, jobs, matching, numbers, reading

router = APIRouter()
for part in (cases, jobs, matching, numbers, reading):
    router.include_router(part.router)

__all__ = ["router"]
