"""Every setting: its default, unit (in its name), range, and one sentence. The reference page is made from this."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the tree."""


class Data(Section, frozen=True, kw_only=True):
    """Where Satchel keeps everything that is not on a configured server."""

    folder: Annotated[str, Meta(description="Folder for databases, keys, certificates, objects.")] = "data"


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """The PostgreSQL server of the control database."""

    url: Annotated[str, Meta(description="Connection string; empty: an embedded server.")] = ""
    pool_size: Annotated[int, Meta(ge=2, le=200, description="Connections of one process to the control database.")] = (
        10
    )
    statement_timeout_seconds: Annotated[
        float, Meta(ge=0, le=86400, description="Longest run of one statement; 0: no limit.")
    ] = 600.0


class Staging(Section, frozen=True, kw_only=True):
    """The PostgreSQL server of the organizations' staging databases."""

    url: Annotated[
        str,
        Meta(description="Connection string of a role that may create databases and roles; empty: the control server."),
    ] = ""
    servers: Annotated[
        dict[str, str],
        Meta(description="More servers: a connection string for each name. New organizations are placed on these."),
    ] = {}
    weights: Annotated[
        dict[str, float],
        Meta(description="For a server's name its share of new organizations; not named: 1; 0: takes none."),
    ] = {}
    tombstone_retention_days: Annotated[
        float,
        Meta(ge=1, le=3650, description="How long removed rows are remembered; a device away longer loads anew."),
    ] = 30.0


class Sync(Section, frozen=True, kw_only=True):
    """The sync endpoint, for devices."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 8443
    public_url: Annotated[
        str, Meta(description="Address that enrolment links carry; empty: https://localhost:<port>.")
    ] = ""
    tls_certificate_file: Annotated[
        str, Meta(description="Certificate chain (PEM); empty: one of a development CA.")
    ] = ""
    tls_key_file: Annotated[str, Meta(description="Its private key (PEM, PKCS#8).")] = ""
    rows_per_line: Annotated[int, Meta(ge=1, le=10000, description="Rows in one line of an answer.")] = 1000
    rows_per_step: Annotated[int, Meta(ge=1, le=100000, description="Rows read in one snapshot of the database.")] = (
        5000
    )
    compression_level: Annotated[int, Meta(ge=1, le=19, description="zstd level of answers.")] = 3
    frame_memory_bytes: Annotated[
        int, Meta(ge=0, le=2**34, description="Frames of snapshots that one sync server keeps in memory.")
    ] = 33_554_432
    head_reread_seconds: Annotated[
        float, Meta(ge=0.1, le=600, description="How often heads are re-read, should a notification be lost.")
    ] = 5.0
    max_unsettled_edits: Annotated[
        int, Meta(ge=100, le=10**7, description="Edit sets of one device that may wait to be played back.")
    ] = 100_000
    max_request_bytes: Annotated[int, Meta(ge=1024, le=2**30, description="Largest request body.")] = 1048576
    drain_notice_seconds: Annotated[
        float, Meta(ge=0, le=600, description="Asked to end, how long it serves on while readiness says no.")
    ] = 0.0
    drain_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Then, how long it lets downloads under way come to their end.")
    ] = 10.0


class Management(Section, frozen=True, kw_only=True):
    """The management endpoint, for our own services."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 8444


class Console(Section, frozen=True, kw_only=True):
    """The console: web pages for administrators. It serves the certificate of [sync]."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0: `satchel up` runs no console.")] = 8445
    public_url: Annotated[
        str, Meta(description="Address administrators use; empty: https://localhost:<port>. Nothing else is answered.")
    ] = ""
    client_id: Annotated[
        str,
        Meta(description="Application that administrators sign in with; empty: by `satchel console open` only."),
    ] = ""
    client_secret_file: Annotated[str, Meta(description="File with its secret; empty: a public client.")] = ""
    scopes: Annotated[str, Meta(description="Scopes it asks for; add the API's own, such as api://APP/access.")] = (
        "openid profile offline_access"
    )
    proof_minutes: Annotated[
        float,
        Meta(gt=0, le=1440, description="How often the issuer is asked anew whether a session's role still stands."),
    ] = 10.0
    idle_minutes: Annotated[float, Meta(gt=0, le=1440, description="A session ends when nothing is asked so long.")] = (
        60.0
    )
    session_hours: Annotated[float, Meta(gt=0, le=168, description="Longest life of a session.")] = 8.0
    link_minutes: Annotated[
        float, Meta(gt=0, le=1440, description="How long a link of `satchel console open` can be used.")
    ] = 5.0
    max_request_bytes: Annotated[int, Meta(ge=1024, le=2**26, description="Largest form, profiles included.")] = 2097152


class Worker(Section, frozen=True, kw_only=True):
    """The data sync worker."""

    concurrency: Annotated[int, Meta(ge=1, le=64, description="Work items that one worker runs at once.")] = 4


class SourceSettings(Section, frozen=True, kw_only=True):
    """How sources are read."""

    page_size: Annotated[int, Meta(ge=1, le=50000, description="Rows asked for in one page.")] = 5000
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How long a source may keep silent in an answer.")
    ] = 120.0
    retry_wait_limit_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="How long one request is repeated before its work item waits instead.")
    ] = 30.0
    delta_link_lifetime_days: Annotated[
        float, Meta(gt=0, le=3650, description="How long the source keeps a delta link; warnings come before.")
    ] = 7.0
    max_concurrency: Annotated[int, Meta(ge=1, le=52, description="Most requests at once to one source.")] = 16


class Snapshots(Section, frozen=True, kw_only=True):
    """Sealed images of large buckets, for first syncs."""

    min_rows: Annotated[int, Meta(ge=1, le=10**9, description="Buckets of fewer rows come from the database.")] = 5_000
    tail_share: Annotated[
        float, Meta(gt=0, le=1, description="A bucket is sealed anew when so large a part of its rows changed.")
    ] = 0.05
    compression_level: Annotated[
        int, Meta(ge=1, le=22, description="zstd level; 16 and more take ten times as long for 5 % fewer bytes.")
    ] = 12
    grace_seconds: Annotated[
        float, Meta(ge=0, le=604800, description="How long a replaced snapshot is kept for downloads under way.")
    ] = 3600.0
    forget_days: Annotated[
        float,
        Meta(ge=1, le=3650, description="How long snapshots of columns that no device asks for stay, and gzip frames."),
    ] = 30.0


class Schedule(Section, frozen=True, kw_only=True):
    """How often recurring work comes."""

    pull_interval_seconds: Annotated[float, Meta(ge=0.1, le=86400, description="Between two pulls of an entity.")] = (
        30.0
    )
    full_read_interval_seconds: Annotated[
        float,
        Meta(ge=0.1, le=86400, description="The same, where only reading everything tells what changed."),
    ] = 300.0
    window_interval_seconds: Annotated[
        float, Meta(ge=0.1, le=86400, description="How often time windows of filters are moved on.")
    ] = 60.0
    seal_interval_seconds: Annotated[
        float, Meta(ge=0.1, le=86400, description="How often is looked which buckets need a new snapshot.")
    ] = 30.0
    model_refresh_interval_seconds: Annotated[
        float, Meta(ge=1, le=604800, description="Between two reads of the metadata.")
    ] = 3600.0
    reconcile_interval_seconds: Annotated[
        float, Meta(ge=1, le=2592000, description="Between two comparisons of an entity's keys with the source.")
    ] = 86400.0
    deletion_check_interval_seconds: Annotated[
        float, Meta(ge=0.1, le=2592000, description="The same, where keys are the only way to find deletions.")
    ] = 300.0
    tick_seconds: Annotated[float, Meta(ge=0.05, le=60, description="How often the schedule is looked at.")] = 1.0


class ScaleUnit(Section, frozen=True, kw_only=True):
    """This deployment, among others that serve other organizations."""

    name: Annotated[
        str, Meta(pattern="^[a-z0-9-]{1,40}$", description="Its name; it stands in DNS beside each name it made.")
    ] = "main"


class Dns(Section, frozen=True, kw_only=True):
    """Names of organizations: NAME.ZONE leads a device to its scale unit."""

    zone: Annotated[str, Meta(max_length=200, description="The zone; empty: Satchel keeps no names.")] = ""
    server: Annotated[
        str, Meta(description="Primary name server that takes updates (RFC 2136); empty: names are only exported.")
    ] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="Its port (TCP).")] = 53
    key_name: Annotated[str, Meta(description="Name of the key (TSIG) that may change the zone.")] = ""
    key_algorithm: Annotated[
        Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"], Meta(description="Its algorithm.")
    ] = "hmac-sha256"
    key_secret_file: Annotated[str, Meta(description="File with its secret, base64.")] = ""
    target: Annotated[str, Meta(description="Host name of this scale unit: names become a CNAME to it.")] = ""
    addresses: Annotated[
        list[str], Meta(description="Addresses of this scale unit, where it has no host name: A and AAAA.")
    ] = []
    ttl_seconds: Annotated[int, Meta(ge=1, le=86400, description="How long others may remember a name.")] = 60
    check_interval_seconds: Annotated[
        float, Meta(ge=0.1, le=604800, description="How often each name is compared with what stands in DNS.")
    ] = 600.0
    endpoint_port: Annotated[
        int, Meta(ge=1, le=65535, description="Port of the sync endpoint under an organization's name.")
    ] = 443


class Storage(Section, frozen=True, kw_only=True):
    """Object storage for snapshots, logs and traces."""

    url: Annotated[
        str,
        Meta(description="s3://bucket/prefix, az://container/prefix or gs://; empty: a folder in the data folder."),
    ] = ""
    endpoint: Annotated[
        str, Meta(description="Address of a server other than the provider's own, such as https://minio.example:9000.")
    ] = ""
    region: Annotated[str, Meta(description="Region (S3).")] = ""
    key_id: Annotated[
        str,
        Meta(description="Access key id (S3), account name (Azure); empty: from the provider's variables."),
    ] = ""
    key_secret: Annotated[str, Meta(description="Secret access key (S3) or account key (Azure).")] = ""
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=600, description="Longest time for one request, retries included.")
    ] = 30.0


class Secrets(Section, frozen=True, kw_only=True):
    """The master keys, on which everything sealed depends: the first seals, all open."""

    key: Annotated[str, Meta(description="32 bytes, base64; several with commas; empty: keyring or key_file.")] = ""
    keyring: Annotated[bool, Meta(description="Keep the keys in the operating system's keyring.")] = False
    key_file: Annotated[
        str, Meta(description="File with the keys, one a line; empty: secrets/master.key in the data folder.")
    ] = ""


class Log(Section, frozen=True, kw_only=True):
    """Logs of the services, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level that is written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "console", "json"], Meta(description="auto: lines for people on a terminal, JSON elsewhere.")
    ] = "auto"


class Telemetry(Section, frozen=True, kw_only=True):
    """Logs and traces, kept in object storage."""

    keep: Annotated[bool, Meta(description="Keep them; `satchel logs` and `satchel trace` search them.")] = True
    retention_days: Annotated[float, Meta(gt=0, le=3650, description="How long they are kept.")] = 14.0
    flush_seconds: Annotated[float, Meta(ge=0.1, le=600, description="How often they are written.")] = 5.0
    otlp_endpoint: Annotated[
        str,
        Meta(description="OTLP/HTTP collector they also go to; empty: as OTEL_EXPORTER_OTLP_ENDPOINT says, else none."),
    ] = ""


class Health(Section, frozen=True, kw_only=True):
    """What counts as healthy."""

    look_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="How often the provisioning service examines everything.")
    ] = 20.0
    max_queue_age_seconds: Annotated[
        float, Meta(ge=0, le=86400, description="Sync servers are not ready beyond this age of the queue; 0: no limit.")
    ] = 0.0
    max_lag_seconds: Annotated[
        float, Meta(ge=0, le=864000, description="The same, where all pulls have failed for so long; 0: no limit.")
    ] = 0.0


class Metrics(Section, frozen=True, kw_only=True):
    """Metrics of each service (Prometheus), without credentials: keep the address in a network of your own."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    provisioning_port: Annotated[int, Meta(ge=0, le=65535, description="Of the provisioning service; 0: none.")] = 0
    worker_port: Annotated[int, Meta(ge=0, le=65535, description="Of the data sync worker; 0: none.")] = 0
    sync_port: Annotated[int, Meta(ge=0, le=65535, description="Of the sync server; 0: none.")] = 0
    console_port: Annotated[int, Meta(ge=0, le=65535, description="Of the console; 0: none.")] = 0


class Enrolment(Section, frozen=True, kw_only=True):
    """How devices come in."""

    code_lifetime_hours: Annotated[
        float, Meta(gt=0, le=8760, description="How long an enrolment link can be used.")
    ] = 72.0


class SignIn(Section, frozen=True, kw_only=True):
    """Sign-in by OpenID Connect; without an issuer, devices come in by enrolment links only."""

    issuer: Annotated[
        str,
        Meta(description="Issuer's address (Entra ID: https://login.microsoftonline.com/TENANT/v2.0); empty: none."),
    ] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates (PEM) to trust for the issuer besides the system's; devices are told them.")
    ] = ""
    tenants: Annotated[
        str, Meta(description="Entra tenants (`tid`) whose users may sign in, with commas; empty: the issuer's own.")
    ] = ""
    management_tenants: Annotated[
        str,
        Meta(description="Tenants whose services and administrators count; empty: the one of `tenants`, else none."),
    ] = ""
    device_client_id: Annotated[str, Meta(description="Application (public client) that devices sign in as.")] = ""
    scopes: Annotated[
        str, Meta(description="Scopes that devices ask for; add the API's own, such as api://APP/access.")
    ] = "openid profile email offline_access"
    audience: Annotated[
        str,
        Meta(description="Audience (`aud`) of access tokens, with commas if several; empty: devices send ID tokens."),
    ] = ""
    resource: Annotated[str, Meta(description="Resource indicator (RFC 8707) for issuers that want one.")] = ""
    redirect_uri: Annotated[
        str, Meta(description="Loopback address the browser comes back to, as registered; devices add a free port.")
    ] = "http://localhost"
    user_claim: Annotated[str, Meta(description="Claim that tells who the user is.")] = "oid"
    user_attribute: Annotated[
        str, Meta(description="Attribute of the source's users that holds that claim's value.")
    ] = "azureactivedirectoryobjectid"
    administrators: Annotated[
        str, Meta(description="App roles or groups of administrators, with commas; empty: no one by sign-in.")
    ] = ""
    clock_skew_seconds: Annotated[
        float, Meta(ge=0, le=600, description="How far clocks of issuer and server may differ.")
    ] = 60.0
    device_token_hours: Annotated[
        float,
        Meta(gt=0, le=720, description="How long a device may sync until it proves its sign-in at the issuer again."),
    ] = 8.0


class Devices(Section, frozen=True, kw_only=True):
    """What devices may do without a network."""

    offline_lease_days: Annotated[
        float, Meta(ge=0, le=3650, description="How long data may be read without the server being heard; 0: no limit.")
    ] = 0.0
    offline_lease_action: Annotated[
        Literal["lock", "erase"],
        Meta(description="Then: lock refuses to read until the next sync, erase also drops the data."),
    ] = "lock"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of an installation."""

    data: Data = Data()
    database: DatabaseSettings = DatabaseSettings()
    staging: Staging = Staging()
    sync: Sync = Sync()
    management: Management = Management()
    console: Console = Console()
    worker: Worker = Worker()
    source: SourceSettings = SourceSettings()
    snapshots: Snapshots = Snapshots()
    schedule: Schedule = Schedule()
    scale_unit: ScaleUnit = ScaleUnit()
    dns: Dns = Dns()
    storage: Storage = Storage()
    secrets: Secrets = Secrets()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()
    metrics: Metrics = Metrics()
    health: Health = Health()
    enrolment: Enrolment = Enrolment()
    sign_in: SignIn = SignIn()
    devices: Devices = Devices()

    @property
    def data_folder(self) -> Path:
        """Root of everything that is kept on this machine."""
        return Path(self.data.folder).absolute()

    @property
    def master_key_file(self) -> Path:
        """Where the master key stands unless it is given as a setting."""
        return Path(self.secrets.key_file) if self.secrets.key_file else self.data_folder / "secrets" / "master.key"

    @property
    def tls_folder(self) -> Path:
        """The development certificate authority and its certificates."""
        return self.data_folder / "tls"

    @property
    def postgres_folder(self) -> Path:
        """The embedded PostgreSQL server."""
        return self.data_folder / "postgres"

    @property
    def objects_folder(self) -> Path:
        """Object storage on this machine."""
        return self.data_folder / "objects"

    @property
    def run_folder(self) -> Path:
        """What runs just now."""
        return self.data_folder / "run"
