"""More of the interface for programs: reading, matching, cases, jobs, numbers."""

from fastapi import APIRouter

from foveola.service.rest import cases, jobs, matching, numbers, reading

router = APIRouter()
for part in (cases, jobs, matching, numbers, reading):
    router.routes.extend(part.router.routes)  # as service/app.py does, and why

__all__ = ["router"]
