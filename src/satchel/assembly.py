"""Settings become the objects of one process: the only file that picks implementations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from psycopg.conninfo import conninfo_to_dict

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles, entity_names
from satchel.database.embedded import running_url
from satchel.database.migrate import migrate
from satchel.database.pool import Connection, Database
from satchel.database.server import ensure_database, url_of
from satchel.errors import DatabaseUnusable, SettingInvalid, SourceMisconfigured, SourceUnreachable, StoreBusy
from satchel.identity.keys import MasterKey
from satchel.identity.secrets import open_sealed, seal
from satchel.identity.tokens import make_service_token
from satchel.jobs.organization import OrganizationWork, notify_head
from satchel.jobs.playback import SIDE_BY_SIDE
from satchel.jobs.provision import Intervals, ProvisioningWork
from satchel.jobs.seal_snapshot import Sealing
from satchel.jobs.tidy_telemetry import tidy_telemetry
from satchel.model.changes import Source, SourceInfo
from satchel.model.metadata import Metadata
from satchel.model.scope import Scope
from satchel.model.work import WorkItem, WorkName
from satchel.naming.records import Target
from satchel.naming.updates import NameServer, Zone
from satchel.provisioning.databases import StagingDatabases
from satchel.provisioning.devices import Devices
from satchel.provisioning.endpoints import SyncServers
from satchel.provisioning.events import OrganizationEvents
from satchel.provisioning.moves import Moves
from satchel.provisioning.names import Names
from satchel.provisioning.organizations import DEFAULT_SERVER, Organization, Organizations
from satchel.provisioning.profiles import Profiles
from satchel.provisioning.servers import Servers
from satchel.settings.schema import Settings
from satchel.source.connection import Connection as SourceConnection
from satchel.source.open import open_source
from satchel.staging.head import Head
from satchel.staging.timeline import notice_timeline
from satchel.storage import delete_prefix, open_objects, open_storage
from satchel.work.queue import WorkQueue, drop_waiting, make_queue
from satchel.work.runner import Runner

log = structlog.get_logger()

CONTROL_DATABASE = "satchel"
DAY_SECONDS = 86_400
_DEFAULT_DATABASES = {"postgres", ""}


def server_url(settings: Settings) -> str:
    """The PostgreSQL server: a configured one, else the embedded one of `satchel up`. Errors: DatabaseUnusable."""
    url = settings.database.url or running_url(settings)
    if not url:
        raise DatabaseUnusable(
            f"Satchel is not running on {settings.data_folder}.",
            hint="Start it with `satchel up` (or `make up`), or give a server: SATCHEL_DATABASE__URL.",
        )
    return url


def control_url(settings: Settings) -> str:
    """The control database on that server."""
    url = server_url(settings)
    name = str(conninfo_to_dict(url).get("dbname") or "")
    return url_of(url, database=CONTROL_DATABASE) if name in _DEFAULT_DATABASES else url


def staging_urls(settings: Settings) -> dict[str, str]:
    """The servers of the staging databases, by name."""
    return {DEFAULT_SERVER: settings.staging.url or server_url(settings), **settings.staging.servers}


def staging_databases(settings: Settings, key: MasterKey) -> StagingDatabases:
    """The staging databases on all of them."""
    return StagingDatabases(
        staging_urls(settings),
        key.keys("staging role password"),
        statement_timeout_seconds=settings.database.statement_timeout_seconds,
        on_connect=notice_timeline,
    )


def dns_target(settings: Settings) -> Target:
    """Where names of organizations lead."""
    dns = settings.dns
    return Target(dns.zone, settings.scale_unit.name, dns.target, dns.addresses, dns.ttl_seconds)


def open_zone(settings: Settings) -> Zone | None:
    """The zone that Satchel keeps; None where it keeps none. Errors: SettingInvalid."""
    dns = settings.dns
    if not dns.zone or not dns.server:
        return None
    try:
        secret = Path(dns.key_secret_file).read_text("ascii").strip() if dns.key_secret_file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid("[dns] key_secret_file cannot be read.") from error
    return Zone(NameServer(dns.server, dns.port, dns.key_name, dns.key_algorithm, secret), dns_target(settings))


async def prepare(settings: Settings, *, with_post: bool = True) -> None:
    """Make the control database, bring it and every staging database to this version; again is harmless.

    Errors: DatabaseTooNew. A staging database that does not answer is left for the next start; its work waits.
    """
    url = control_url(settings)
    await ensure_database(server_url(settings), str(conninfo_to_dict(url)["dbname"]))
    async with Database(url, pool_size=2) as control, WorkQueue(url) as queue:
        await migrate(control, "control", with_post=with_post)
        await _migrate_organizations(Rooms(settings, control, queue), with_post=with_post)
        await make_queue(control, queue)


async def _migrate_organizations(rooms: Rooms, *, with_post: bool) -> None:
    for organization in await rooms.organizations.all():
        if organization.state in {"active", "broken"}:
            try:
                await rooms.databases.make(organization, with_post=with_post)
            except StoreBusy as error:
                log.warning("staging database not migrated", organization=organization.name, reason=error.message)


class Rooms:
    """What every server process and the administrator's commands work with."""

    def __init__(self, settings: Settings, control: Database, queue: WorkQueue) -> None:
        """All of it is made here, connected elsewhere."""
        self.settings = settings
        self.control = control
        self.queue = queue
        self.key = MasterKey.load(settings)
        self.organizations = Organizations(control)
        self.profiles = Profiles(control)
        self.devices = Devices(control)
        self.events = OrganizationEvents(control, self.organizations, queue.defer)
        self.servers = Servers(control, list(staging_urls(settings)), settings.staging.weights)
        self.moves = Moves(control)
        self.names = Names(control)
        self.zone = open_zone(settings)
        self.databases = staging_databases(settings, self.key)
        self.sync_servers = SyncServers(control, self.service_token, self.management_ca())

    async def begin_playback(self, organization: str) -> None:
        """Have an organization's edits played now; one such work item that waits is enough."""
        async with self.control.transaction() as connection:
            await self.queue.defer(connection, WorkItem(WorkName.PLAYBACK, organization))

    async def notify_head(self, organization: str, head: Head) -> None:
        """Tell all sync servers that an organization's head moved."""
        await notify_head(self.control, organization, head)

    def service_token(self) -> str:
        """A token for another service's management endpoint."""
        return make_service_token(self.key.derive("service token"), "satchel", datetime.now(UTC))

    def management_ca(self) -> str | None:
        """What verifies management endpoints: our development CA, or the system's where a certificate is configured."""
        return None if self.settings.sync.tls_certificate_file else str(self.settings.tls_folder / "ca.pem")

    def seal_connection(self, name: str, connection: SourceConnection) -> bytes:
        """The source's address and credentials, as they are stored."""
        return seal(self.key.derive("connection"), msgspec.json.encode(connection), f"connection/{name}".encode())

    def open_connection(self, organization: Organization) -> SourceConnection:
        """The reverse."""
        plain = open_sealed(
            self.key.keys("connection").all, organization.sealed_connection, f"connection/{organization.name}".encode()
        )
        return msgspec.json.decode(plain, type=SourceConnection)

    def source(self, connection: SourceConnection, *, patience_seconds: float | None = None) -> Source:
        """The organization's source; with less patience than the settings say, where somebody waits for an answer."""
        settings = self.settings.source
        return open_source(
            msgspec.structs.replace(
                connection,
                timeout_seconds=settings.timeout_seconds,
                patience_seconds=(settings.retry_wait_limit_seconds if patience_seconds is None else patience_seconds),
                max_concurrency=settings.max_concurrency,
            )
        )

    async def check(
        self, connection: SourceConnection, profile_texts: Sequence[str]
    ) -> tuple[SourceInfo, Metadata, Scope]:
        """Prove that source and profiles fit, before anything is saved. Errors: SourceMisconfigured, ProfileInvalid."""
        profiles = [parse_profile(text) for text in profile_texts]
        source = self.source(connection)
        try:
            info = await source.check()
            metadata = await source.metadata(entity_names(profiles, connection.kind))
        except SourceUnreachable as error:
            # While it is being registered, an address that does not answer is most likely a wrong one.
            raise SourceMisconfigured(error.message, hint=error.hint) from error
        finally:
            await source.aclose()
        return info, metadata, compile_profiles(profiles, metadata, connection.kind)


@asynccontextmanager
async def open_rooms(settings: Settings) -> AsyncIterator[Rooms]:
    """Connect a process that runs work items of its own, or only puts them into the queue."""
    url = control_url(settings)
    async with Database(url, pool_size=settings.database.pool_size) as control, WorkQueue(url) as queue:
        rooms = Rooms(settings, control, queue)
        open_work = OpenWork(rooms)
        queue.run = Runner(provisioning_work(rooms, open_work)).run
        try:
            yield rooms
        finally:
            await open_work.close()


class OpenWork:
    """The organizations a worker has open: one source (with its tokens and its throttle) and one pool each."""

    def __init__(self, rooms: Rooms) -> None:
        """Open nothing yet."""
        self._rooms = rooms
        self._open: dict[str, tuple[str, OrganizationWork, AsyncExitStack]] = {}
        self._lock = asyncio.Lock()

    async def get(self, organization: Organization) -> OrganizationWork:
        """The organization, opened anew where its connection changed."""
        # Not of the sealed form, which changes with the master key: open pools and their work would end by that.
        connection = msgspec.json.encode(self._rooms.open_connection(organization))
        home = f"{organization.place}/{organization.database_name}"
        digest = hashlib.sha256(connection + home.encode()).hexdigest()
        async with self._lock:
            known = self._open.get(organization.name)
            if known is None or known[0] != digest:
                await self._close(organization.name)
                known = (digest, *await self._make(organization))
                self._open[organization.name] = known
        return msgspec.structs.replace(known[1], organization=organization)

    async def close(self, organization: Organization | None = None) -> None:
        """Close one organization, or all."""
        async with self._lock:
            for name in [organization.name] if organization else list(self._open):
                await self._close(name)

    async def _close(self, name: str) -> None:
        known = self._open.pop(name, None)
        if known is not None:
            await known[2].aclose()

    async def _make(self, organization: Organization) -> tuple[OrganizationWork, AsyncExitStack]:
        settings, stack = self._rooms.settings, AsyncExitStack()
        source = self._rooms.source(self._rooms.open_connection(organization))
        stack.push_async_callback(source.aclose)
        staging = self._rooms.databases.open(
            organization, pool_size=settings.worker.concurrency + SIDE_BY_SIDE // 2 + 2
        )
        await stack.enter_async_context(staging)
        work = OrganizationWork(
            organization=organization,
            source=source,
            staging=staging,
            control=self._rooms.control,
            page_size=settings.source.page_size,
            reconcile_interval_seconds=settings.schedule.reconcile_interval_seconds,
            deletion_check_interval_seconds=settings.schedule.deletion_check_interval_seconds,
            retention_days=settings.staging.tombstone_retention_days,
        )
        return work, stack


def sealing(settings: Settings) -> Sealing:
    """How snapshots are sealed."""
    snapshots = settings.snapshots
    return Sealing(
        objects=open_objects(settings),
        min_rows=snapshots.min_rows,
        tail_share=snapshots.tail_share,
        compression_level=snapshots.compression_level,
        grace_seconds=snapshots.grace_seconds,
        forget_seconds=snapshots.forget_days * DAY_SECONDS,
    )


def provisioning_work(rooms: Rooms, open_work: OpenWork) -> ProvisioningWork:
    """What the provisioning jobs work with."""
    storage = open_storage(rooms.settings)

    async def drop_objects(organization: Organization) -> None:
        await delete_prefix(storage, f"organizations/{organization.database_name}/")

    async def drop_queue(connection: Connection, organization: Organization) -> None:
        await drop_waiting(connection, organization.name)

    async def tidy() -> int:
        objects = open_objects(rooms.settings)
        return await tidy_telemetry(objects, datetime.now(UTC), rooms.settings.telemetry.retention_days)

    schedule = rooms.settings.schedule
    return ProvisioningWork(
        control=rooms.control,
        organizations=rooms.organizations,
        databases=rooms.databases,
        servers=rooms.servers,
        moves=rooms.moves,
        names=rooms.names,
        zone=rooms.zone,
        name_check_seconds=rooms.settings.dns.check_interval_seconds,
        sync_servers=rooms.sync_servers,
        intervals=Intervals(
            pull_seconds=schedule.pull_interval_seconds,
            full_read_seconds=max(schedule.full_read_interval_seconds, schedule.pull_interval_seconds),
            model_refresh_seconds=schedule.model_refresh_interval_seconds,
            window_seconds=schedule.window_interval_seconds,
            seal_seconds=schedule.seal_interval_seconds,
        ),
        defer=rooms.queue.defer,
        open_work=open_work.get,
        close_work=open_work.close,
        drop_objects=drop_objects,
        drop_queue=drop_queue,
        sealing=sealing(rooms.settings),
        tidy_telemetry=tidy,
    )
