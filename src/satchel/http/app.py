"""The two applications of a sync server: one for devices, one for our own services."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap

from satchel.database.pool import Database
from satchel.errors import SatchelError
from satchel.http.discovery import DiscoveryController, DiscoveryServing
from satchel.http.draining import Draining
from satchel.http.edits import EditsController, EditsServing
from satchel.http.health import HealthController
from satchel.http.management import ManagementController, ManagementServing, MetricsController
from satchel.http.patience import Patience
from satchel.http.polls import Polls
from satchel.http.problems import respond_to_fault, respond_to_http_error, respond_to_satchel_error
from satchel.http.sign_in import SignInController, SignInServing
from satchel.http.sync import SyncController, SyncServing

_HANDLERS: ExceptionHandlersMap = {
    SatchelError: respond_to_satchel_error,
    HTTPException: respond_to_http_error,
    Exception: respond_to_fault,
}


def sync_app(
    serving: SyncServing,
    edits: EditsServing,
    signing_in: SignInServing,
    discovery: DiscoveryServing,
    control: Database,
    draining: Draining,
    max_request_bytes: int,
) -> Polls:
    """The sync endpoint."""
    values: dict[str, Any] = {"serving": serving, "edits": edits, "signing_in": signing_in, "discovery": discovery}
    handlers: list[ControllerRouterHandler] = [
        SyncController,
        EditsController,
        SignInController,
        DiscoveryController,
        HealthController,
    ]
    values |= {"control": control, "draining": draining, "patience": Patience()}
    others = _app(handlers, values, max_request_bytes)
    return Polls(serving, max_request_bytes, others=others)


def management_app(
    management: ManagementServing, control: Database, draining: Draining, max_request_bytes: int
) -> Litestar:
    """The management endpoint."""
    values = {"management": management, "control": control, "draining": draining}
    return _app([ManagementController, MetricsController, HealthController], values, max_request_bytes)


def _app(handlers: list[ControllerRouterHandler], values: dict[str, Any], max_request_bytes: int) -> Litestar:
    dependencies = {name: Provide(_giver(value), sync_to_thread=False) for name, value in values.items()}
    return Litestar.from_config(
        AppConfig(
            route_handlers=handlers,
            dependencies=dict(dependencies),
            exception_handlers=_HANDLERS,
            request_max_body_size=max_request_bytes,
            openapi_config=None,
        )
    )


def _giver(value: Any) -> Any:
    def give() -> Any:
        return value

    return give
