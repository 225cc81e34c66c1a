"""Pages from templates; every value is escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trabecula_service import __version__
from trabecula_service.render.wording import typeset
from trabecula_service.web.charts import DENSITY_TICKS, DENSITY_WIDTH, LOSS_TICKS, LOSS_WIDTH
from trabecula_service.web.words import age_text, date_text, name_text, size_text, time_text


def templates() -> Environment:
    """The templates of all pages."""
    environment = Environment(
        loader=PackageLoader("trabecula_service.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(age=age_text, time=time_text, date=date_text, size=size_text, person=name_text, typeset=typeset)
    environment.globals.update(
        software_version=__version__,
        loss_ticks=LOSS_TICKS,
        loss_width=LOSS_WIDTH,
        density_ticks=DENSITY_TICKS,
        density_width=DENSITY_WIDTH,
        page_name="",
        who="",
    )
    return environment


_ENVIRONMENT = templates()


def page(template: str, **values: Any) -> str:
    """One page as HTML."""
    return _ENVIRONMENT.get_template(template).render(**values)
