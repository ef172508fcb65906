"""The console's application: pages behind the guard, errors as pages, the same headers on every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar, Response, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from satchel.console.desk import AnyRequest, Desk, Visit, visit_of
from satchel.console.door.enter import EnterController, local
from satchel.console.door.guard import add_headers, guard
from satchel.console.forms import address
from satchel.console.pages import CONTROLLERS
from satchel.console.render import Page, page
from satchel.database.pool import Database
from satchel.errors import RequestInvalid, SatchelError, SignInNeeded
from satchel.http.draining import Draining
from satchel.http.health import HealthController
from satchel.http.problems import told
from satchel.protocol.messages import Problem

_STATIC = Path(__file__).with_name("static")
log = structlog.get_logger()


def console_app(desk: Desk, control: Database, draining: Draining, max_request_bytes: int) -> Litestar:
    """The console."""

    def give(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    return Litestar.from_config(
        AppConfig(
            route_handlers=[_style, _icon, HealthController, EnterController, *CONTROLLERS],
            dependencies={
                "desk": give(desk),
                "control": give(control),
                "draining": give(draining),
                "visit": Provide(_visit, sync_to_thread=False),
            },
            state=State({"desk": desk}),
            before_request=guard,
            after_request=add_headers,
            exception_handlers={SatchelError: _satchel_error, HTTPException: _http_error, Exception: _fault},
            request_max_body_size=max_request_bytes,
            openapi_config=None,
        )
    )


def _visit(request: AnyRequest) -> Visit:
    return visit_of(request)


@get("/console.css", media_type="text/css", sync_to_thread=False)
def _style() -> str:
    return (_STATIC / "console.css").read_text("utf-8")


@get("/icon.svg", media_type="image/svg+xml", sync_to_thread=False)
def _icon() -> str:
    return (_STATIC / "icon.svg").read_text("utf-8")


def _satchel_error(request: AnyRequest, error: SatchelError) -> Response[Any]:
    if isinstance(error, SignInNeeded) and request.method == "GET":
        query = bytes(request.scope.get("query_string", b"")).decode("latin-1")
        to = local(request.scope["path"] + (f"?{query}" if query else ""))
        return add_headers(Redirect(address("/sign-in", to=to if to != "/" else ""), status_code=303))
    return _shown(request, told(error, request.scope["path"]))


def _http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """The framework's own refusals."""
    if error.status_code >= 500:
        return _fault(request, error)
    title = {404: "There is no such page.", 405: "That is not done here.", 413: "That is too large."}
    words = title.get(error.status_code, "The request is not usable.")
    return _shown(request, Problem(title=words, status=error.status_code, code=RequestInvalid.code))


def _fault(request: AnyRequest, error: Exception) -> Response[Any]:
    return _shown(request, told(error, request.scope["path"]))


def _shown(request: AnyRequest, problem: Problem) -> Response[Any]:
    visit = request.scope["state"].get("visit")
    answer: Page = page("error.html", visit, http_status=problem.status, problem=problem)
    return add_headers(answer)  # type: ignore[arg-type]
