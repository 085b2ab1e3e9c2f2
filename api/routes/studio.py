"""The studio, the page for designers, which uses the public API alone; its files are mounted at /studio as they are."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.http.file_responses import WholeFile

FOLDER = Path(__file__).parents[1] / "studio"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """The page itself."""
    return WholeFile(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})
