"""All pages for people."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter

from trabecula_service.api.context import WebContext
from trabecula_service.web.image_routes import build_image_routes
from trabecula_service.web.rules_pages import build_rules_pages
from trabecula_service.web.site_pages import build_site_pages
from trabecula_service.web.study_pages import build_study_pages
from trabecula_service.web.work_list_pages import build_work_list_pages

STATIC_FOLDER = Path(__file__).parent / "static"
FONT_FOLDER = Path(str(files("trabecula_service.render") / "fonts"))
"""The documents' fonts: a reading room's workstation may have none for a name."""


def build_pages(context: WebContext) -> APIRouter:
    """Routes for people."""
    router = APIRouter()
    for part in (build_work_list_pages, build_study_pages, build_image_routes, build_site_pages, build_rules_pages):
        router.include_router(part(context))
    return router
