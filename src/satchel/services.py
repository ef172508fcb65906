"""The services: what each process runs until it is told to stop. One floor below the command line."""

from __future__ import annotations

import asyncio
import math
import shutil
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar import Litestar

from satchel.administration.console import console_issuer, console_sessions
from satchel.administration.doctor.examine import keep_examining
from satchel.assembly import Rooms, control_url, open_rooms
from satchel.console.app import console_app
from satchel.console.desk import Desk
from satchel.database.pool import keep_resting, pool_use
from satchel.errors import SatchelError, SettingInvalid
from satchel.http.app import management_app, sync_app
from satchel.http.auth import DeviceAuth, ManagementAuth
from satchel.http.discovery import DiscoveryServing
from satchel.http.draining import Draining
from satchel.http.edits import EditsServing
from satchel.http.health import readiness
from satchel.http.management import ManagementServing
from satchel.http.observe import Observed, Tally
from satchel.http.polls import Polls
from satchel.http.sign_in import SignInServing
from satchel.http.sync import SyncServing
from satchel.identity.certificates import ServerCertificate, ensure_server_certificate, expiry_of
from satchel.identity.sign_in import SignIn, sign_in_of
from satchel.protocol.messages import Lease
from satchel.provisioning.processes import Processes, ProcessFacts, keep_beating
from satchel.provisioning.schedule import all_failing_seconds
from satchel.settings.schema import Settings
from satchel.storage import open_objects
from satchel.sync.heads import listen_for_heads, reread_heads
from satchel.sync.images import Images
from satchel.sync.known_devices import KnownDevices, keep_confirming
from satchel.sync.served import ServedOrganizations
from satchel.sync.step import StepLimits
from satchel.telemetry import metrics
from satchel.telemetry.start import running
from satchel.work.queue import queue_state
from satchel.work.schedule import (
    keep_dropping,
    keep_looking_for_forgotten,
    keep_migrating,
    keep_names,
    keep_schedule,
    keep_taking_over,
    keep_tidying,
)

REGISTER_SECONDS = 10.0
DROP_SECONDS = 15.0
MIGRATE_SECONDS = 15.0
READINESS_SECONDS = 5.0
DAY_SECONDS = 86_400
STAGING_POOL_SIZE = 8
log = structlog.get_logger()


async def run_provisioning(settings: Settings) -> None:
    """The provisioning service: events, schedule, stalled work."""
    async with open_rooms(settings) as rooms:
        tick = settings.schedule.tick_seconds
        names = [keep_names(rooms.control, rooms.queue, tick_seconds=max(tick, 1.0))] if rooms.zone is not None else []
        await _until_stopped(
            *names,
            rooms.queue.work(["provisioning"], name="provisioning", concurrency=2),
            rooms.queue.work(["moves"], name="moves", concurrency=1),
            keep_schedule(rooms.control, rooms.queue, tick_seconds=tick),
            keep_taking_over(rooms.queue),
            keep_dropping(rooms.organizations, rooms.databases, every_seconds=DROP_SECONDS),
            keep_migrating(rooms.organizations, rooms.databases, every_seconds=MIGRATE_SECONDS),
            keep_tidying(rooms.control, rooms.queue),
            keep_examining(rooms, settings.health.look_seconds),
            *beside(rooms),
            keep_looking_for_forgotten(rooms.control, rooms.queue),
        )


async def run_worker(settings: Settings) -> None:
    """The data sync worker."""
    async with open_rooms(settings) as rooms:
        await _until_stopped(
            rooms.queue.work(["data"], name="worker", concurrency=settings.worker.concurrency),
            keep_looking_for_forgotten(rooms.control, rooms.queue),
            *beside(rooms),
        )


async def run_sync(settings: Settings) -> None:
    """The sync server: two endpoints, both over TLS."""
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(open_rooms(settings))
        certificate = server_certificate(settings)
        sign_in = sign_in_of(settings.sign_in)
        served = ServedOrganizations(
            rooms.organizations, lambda o: rooms.databases.open(o, pool_size=STAGING_POOL_SIZE)
        )
        stack.push_async_callback(served.close)
        devices, draining = KnownDevices(rooms.devices), Draining()
        limit = settings.sync.max_request_bytes
        sync, management = settings.sync, settings.management
        app = _sync_app(rooms, served, devices, certificate, sign_in, draining)
        inner = _management_app(rooms, served, sign_in, draining, limit)
        tally = Tally()
        metrics.Read("satchel_is_draining", lambda: [((), float(draining.has_begun))])
        servers = [
            _server(app, sync.host, sync.port, certificate, tally),
            _server(inner, management.host, management.port, certificate, tally),
        ]
        serving = [asyncio.ensure_future(server.serve()) for server in servers]

        async def drain() -> None:
            draining.begin()
            served.heads.drain()
            await asyncio.sleep(settings.sync.drain_notice_seconds)
            for server in servers:
                server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait(serving, timeout=settings.sync.drain_seconds)

        await _until_stopped(
            *serving,
            listen_for_heads(control_url(settings), served.heads, devices),
            keep_confirming(devices),
            reread_heads(served.heads, served.reread, settings.sync.head_reread_seconds),
            _stay_registered(rooms),
            keep_judging(rooms),
            *beside(rooms, certificate),
            drain=drain,
        )


async def run_console(settings: Settings) -> None:
    """The console: pages for administrators, over TLS. Errors: SettingInvalid."""
    if not settings.console.port:
        raise SettingInvalid("[console] port is 0: there is nothing to serve.")
    async with open_rooms(settings) as rooms:
        certificate, draining = server_certificate(settings), Draining()
        desk = desk_of(rooms)
        own = settings.console
        app = console_app(desk, rooms.control, draining, own.max_request_bytes)
        server = _server(app, own.host, own.port, certificate, Tally())
        serving = asyncio.ensure_future(server.serve())

        async def drain() -> None:
            draining.begin()
            server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait([serving], timeout=settings.sync.drain_seconds)

        await _until_stopped(serving, *beside(rooms, certificate), drain=drain)


def desk_of(rooms: Rooms) -> Desk:
    """What the console's pages work with. Errors: SettingInvalid."""
    own = rooms.settings.console
    return Desk(
        rooms=rooms,
        sessions=console_sessions(rooms),
        by_issuer=console_issuer(rooms.settings),
        keys=rooms.key.keys("console"),
        title=urlsplit(own.public_url).hostname or rooms.settings.scale_unit.name,
    )


def beside(rooms: Rooms, certificate: ServerCertificate | None = None) -> list[Coroutine[Any, Any, None]]:
    """What each service does beside its work: it says that it lives, and serves its metrics where a port is set.

    Errors: PortInUse.
    """
    settings, telemetry = rooms.settings, running()
    ports = settings.metrics
    port = {
        "provisioning": ports.provisioning_port,
        "worker": ports.worker_port,
        "sync": ports.sync_port,
        "console": ports.console_port,
    }
    metrics.listen(ports.host, port.get(telemetry.service, 0))

    def facts() -> ProcessFacts:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(settings.data_folder)
        archive = telemetry.archive
        return ProcessFacts(
            disk_free_bytes=usage.free,
            disk_total_bytes=usage.total,
            telemetry_dropped=archive.dropped if archive else 0,
            certificate_expires_at=expiry_of(certificate.cert_file) if certificate else None,
        )

    metrics.Read(
        "satchel_database_connections",
        lambda: [
            ((kind, state), float(count))
            for kind, use in pool_use().items()
            for state, count in (("open", use.open), ("idle", use.idle))
        ],
    )
    metrics.Read(
        "satchel_database_waiting", lambda: [((kind,), float(use.waiting)) for kind, use in pool_use().items()]
    )
    metrics.Read("satchel_disk_free_bytes", lambda: [((), float(facts().disk_free_bytes))])
    beating = keep_beating(Processes(rooms.control), telemetry.instance, telemetry.service, facts)
    return [beating, keep_resting("staging")]


async def keep_judging(rooms: Rooms, every_seconds: float = READINESS_SECONDS) -> None:
    """Whether devices had better go elsewhere, until cancelled: the queue or the sources are late beyond the limits."""
    limits = rooms.settings.health
    while limits.max_queue_age_seconds or limits.max_lag_seconds:
        try:
            age = (await queue_state(rooms.control)).age_seconds if limits.max_queue_age_seconds else 0.0
            lag = await all_failing_seconds(rooms.control) if limits.max_lag_seconds else 0.0
        except SatchelError as error:  # that it does not answer, readiness finds out by itself
            log.warning("readiness not judged", reason=error.message)
        else:
            late = "queue" if age > limits.max_queue_age_seconds > 0 else ""
            readiness.reason = late or ("sources" if lag > limits.max_lag_seconds > 0 else "")
        await asyncio.sleep(every_seconds)
    await asyncio.Event().wait()


def server_certificate(settings: Settings) -> ServerCertificate:
    """The configured certificate, else one of the development certificate authority."""
    if settings.sync.tls_certificate_file:
        return ServerCertificate(Path(settings.sync.tls_certificate_file), Path(settings.sync.tls_key_file), None, None)
    public_host = urlsplit(settings.sync.public_url).hostname
    zone = settings.dns.zone.rstrip(".")
    below = (zone, f"*.{zone}") if zone else ()
    console_host = urlsplit(settings.console.public_url).hostname
    hosts = (public_host, console_host, settings.sync.host, settings.management.host, settings.console.host)
    names = list(dict.fromkeys(name for name in (*hosts, *below) if name))
    return ensure_server_certificate(settings.tls_folder, names)


def _sync_app(
    rooms: Rooms,
    served: ServedOrganizations,
    devices: KnownDevices,
    certificate: ServerCertificate,
    sign_in: SignIn | None,
    draining: Draining,
) -> Polls:
    settings, lease = rooms.settings.sync, rooms.settings.devices
    serving = SyncServing(
        auth=DeviceAuth(rooms.devices, devices),
        devices=rooms.devices,
        served=served,
        cursor_keys=rooms.key.keys("cursor"),
        limits=StepLimits(settings.rows_per_step, settings.rows_per_line, image_rows=rooms.settings.snapshots.min_rows),
        compression_level=settings.compression_level,
        lease=Lease(math.ceil(lease.offline_lease_days * DAY_SECONDS), lease.offline_lease_action),
        images=Images(open_objects(rooms.settings), settings.frame_memory_bytes),
        ca_file=certificate.ca_file,
    )
    edits = EditsServing(
        auth=serving.auth,
        served=served,
        max_unsettled=settings.max_unsettled_edits,
        begin_playback=rooms.begin_playback,
        notify=rooms.notify_head,
    )
    signing_in = SignInServing(sign_in=sign_in, devices=rooms.devices, served=served)
    discovery = DiscoveryServing(rooms.settings.dns.zone, rooms.settings.dns.endpoint_port)
    return sync_app(serving, edits, signing_in, discovery, rooms.control, draining, settings.max_request_bytes)


def _management_app(
    rooms: Rooms, served: ServedOrganizations, sign_in: SignIn | None, draining: Draining, max_request_bytes: int
) -> Litestar:
    management = ManagementServing(
        auth=ManagementAuth(rooms.key.keys("service token"), lambda: datetime.now(UTC), sign_in),
        served=served,
        organizations=rooms.organizations,
        events=rooms.events,
    )
    return management_app(management, rooms.control, draining, max_request_bytes)


def _server(app: Litestar | Polls, host: str, port: int, certificate: ServerCertificate, tally: Tally) -> Server:
    return Server(
        Observed(app, tally),
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        ssl_cert=certificate.cert_file,
        ssl_key=certificate.key_file,
        http1_settings=HTTP1Settings(header_read_timeout=30_000),
        backlog=2048,
        log_enabled=False,
    )


async def _stay_registered(rooms: Rooms) -> None:
    management = rooms.settings.management
    url = f"https://{management.host}:{management.port}"
    try:
        while True:
            await rooms.sync_servers.register(url)
            await asyncio.sleep(REGISTER_SECONDS)
    finally:
        await rooms.sync_servers.leave(url)


async def _until_stopped(
    *services: Coroutine[Any, Any, None] | Awaitable[None], drain: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run until SIGTERM or SIGINT, or until one of them fails. `drain` brings what is under way to its end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(service) for service in services]
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    if drain is not None and stopped in done:
        await drain()
    for task in (*tasks, stopped):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done - {stopped}:
        task.result()
