"""The topology: which hosts there are, where they stand, and what runs on them. Everything else is derived from it."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network
Port = Annotated[int, Meta(ge=1, le=65535)]


class Role(StrEnum):
    """What a host is there for; a host may have several."""

    BALANCER = "balancer"
    SYNC = "sync"
    WORKER = "worker"
    PROVISIONING = "provisioning"
    CONSOLE = "console"
    DATABASE = "database"
    DNS = "dns"
    IDENTITY = "identity"
    OBJECTS = "objects"


SERVICES = (Role.SYNC, Role.WORKER, Role.PROVISIONING, Role.CONSOLE)
"""The roles that Satchel's own processes fill."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Installation(Part, frozen=True, kw_only=True):
    """What holds for all hosts."""

    domain: Annotated[str, Meta(description="Base domain; an organization is `<name>.<domain>`.")]
    network: Annotated[str, Meta(description="Address block that holds all subnets; everything else is outside.")]
    program: Annotated[str, Meta(description="The command that runs Satchel on a host.")] = "/opt/satchel/bin/satchel"
    image: Annotated[str, Meta(description="Container image, for Kubernetes.")] = "satchel:latest"


class Ports(Part, frozen=True, kw_only=True):
    """Ports, where they are not the usual ones."""

    sync: Annotated[Port, Meta(description="The load balancer's, for devices.")] = 443
    sync_server: Annotated[Port, Meta(description="Sync endpoint of a sync server, for the load balancer.")] = 8443
    management: Annotated[Port, Meta(description="Management endpoint of a sync server.")] = 8444
    console: Annotated[Port, Meta(description="The console, for administrators.")] = 8445
    database: Annotated[Port, Meta(description="PostgreSQL.")] = 5432
    dns: Annotated[Port, Meta(description="DNS, UDP and TCP.")] = 53
    identity: Annotated[Port, Meta(description="Identity provider (HTTPS).")] = 443
    objects: Annotated[Port, Meta(description="Object storage (HTTPS).")] = 443
    sync_metrics: Annotated[Port, Meta(description="Metrics of a sync server, where somebody monitors.")] = 9464
    worker_metrics: Annotated[Port, Meta(description="Metrics of a worker.")] = 9465
    provisioning_metrics: Annotated[Port, Meta(description="Metrics of the provisioning service.")] = 9466
    console_metrics: Annotated[Port, Meta(description="Metrics of a console.")] = 9467


class Balancer(Part, frozen=True, kw_only=True):
    """The layer-4 load balancer."""

    client_addresses: Annotated[
        bool,
        Meta(description="Tell sync servers the devices' addresses (PROXY protocol); false: they see the balancer."),
    ] = True
    connections_per_address: Annotated[
        int, Meta(ge=1, le=10**6, description="Connections at once from one address, such as an office behind one.")
    ] = 500
    new_connections_per_10_seconds: Annotated[
        int, Meta(ge=1, le=10**6, description="New connections from one address in 10 seconds.")
    ] = 500
    max_connections: Annotated[int, Meta(ge=10, le=10**6, description="Connections at once in all.")] = 20000
    silence_seconds: Annotated[
        int, Meta(ge=40, le=3600, description="How long a connection may be silent; long polls take 30 seconds.")
    ] = 90
    slow_start_seconds: Annotated[
        int, Meta(ge=0, le=600, description="In which a server that came back takes its full share.")
    ] = 10


class Databases(Part, frozen=True, kw_only=True):
    """Who has which database."""

    control: Annotated[str, Meta(description="Host of the control database; empty: the first with that role.")] = ""
    staging: Annotated[
        list[str], Meta(description="Hosts of staging databases; empty: all with the role `database`.")
    ] = []
    user: Annotated[str, Meta(description="Role that Satchel signs in as.")] = "satchel"


class Dns(Part, frozen=True, kw_only=True):
    """The zone."""

    ttl_seconds: Annotated[int, Meta(ge=1, le=86400, description="How long an answer may be kept.")] = 60
    key_name: Annotated[str, Meta(description="TSIG key with which records are kept up to date.")] = "satchel-update"
    forwarders: Annotated[
        list[str], Meta(description="Addresses that are asked for other names; empty: the root servers.")
    ] = []
    contact: Annotated[str, Meta(description="Who answers for the zone, as a name.")] = "hostmaster"


class Identity(Part, frozen=True, kw_only=True):
    """Who signs users in."""

    issuer: Annotated[str, Meta(description="OpenID Connect issuer; empty: enrolment links only.")] = ""
    client_id: Annotated[str, Meta(description="Application (public client) that devices sign in as.")] = ""
    audience: Annotated[str, Meta(description="Audience of access tokens; empty: devices send ID tokens.")] = ""
    administrators: Annotated[str, Meta(description="App roles or groups of administrators, with commas.")] = ""
    tenants: Annotated[
        str, Meta(description="Entra tenants whose users may sign in, with commas; empty: the issuer's own.")
    ] = ""
    management_tenants: Annotated[
        str,
        Meta(description="Tenants whose services and administrators count; empty: the one of `tenants`, else none."),
    ] = ""
    console_client_id: Annotated[
        str, Meta(description="Application that administrators sign in to the console with; empty: by links only.")
    ] = ""


class Objects(Part, frozen=True, kw_only=True):
    """Object storage."""

    url: Annotated[
        str, Meta(description="s3://, az:// or gs:// URL; empty: a folder, where services run on one host.")
    ] = ""


class Administration(Part, frozen=True, kw_only=True):
    """From where administrators come."""

    block: Annotated[str, Meta(description="Address block that may use SSH and the console; empty: nobody.")] = ""
    ssh_port: Annotated[Port, Meta(description="SSH.")] = 22


class Monitoring(Part, frozen=True, kw_only=True):
    """Who reads metrics (Prometheus)."""

    block: Annotated[str, Meta(description="Address or block of what scrapes; empty: no metrics are served.")] = ""


class Host(Part, frozen=True, kw_only=True):
    """A machine."""

    address: Annotated[str, Meta(description="Its one address.")]
    subnet: Annotated[str, Meta(description="The subnet the address is of.")]
    roles: Annotated[list[Role], Meta(min_length=1, description="What it is there for.")]


class Source(Part, frozen=True, kw_only=True):
    """The source of an organization, outside."""

    name: Annotated[str, Meta(description="Host name; for people, and for `check --resolve`.")]
    addresses: Annotated[
        list[str], Meta(description="Blocks or addresses; empty: any outside, as the cloud services' change.")
    ] = []
    port: Annotated[Port, Meta(description="HTTPS.")] = 443


class Allowed(Part, frozen=True, kw_only=True):
    """A flow that no role asks for."""

    origin: Annotated[str, Meta(description="A host, a role, a block, or `anywhere`.")]
    target: Annotated[str, Meta(description="The same.")]
    port: Annotated[Port, Meta(description="The port.")]
    protocol: Annotated[Literal["tcp", "udp"], Meta(description="`tcp` or `udp`.")] = "tcp"
    why: Annotated[str, Meta(pattern=r"^[\w ,.:/()-]{3,80}$", description="The reason; it stands beside the rule.")]


class Topology(Part, frozen=True, kw_only=True):
    """All of it."""

    installation: Installation
    subnets: Annotated[dict[str, str], Meta(min_length=1)]
    hosts: Annotated[dict[str, Host], Meta(min_length=1)]
    ports: Ports = Ports()
    balancer: Balancer = Balancer()
    databases: Databases = Databases()
    dns: Dns = Dns()
    identity: Identity = Identity()
    objects: Objects = Objects()
    administration: Administration = Administration()
    monitoring: Monitoring = Monitoring()
    sources: dict[str, Source] = {}
    allow: list[Allowed] = []
    settings: dict[str, dict[str, object]] = {}
    """Settings that all of Satchel's processes get, besides those that follow from the topology."""

    def with_role(self, *roles: Role) -> list[str]:
        """The hosts that have one of these roles, in the file's order."""
        return [name for name, host in self.hosts.items() if set(roles) & set(host.roles)]

    def metrics_ports(self) -> dict[Role, int]:
        """Where services show their metrics; empty where nobody reads them."""
        ports = self.ports
        found = {
            Role.SYNC: ports.sync_metrics,
            Role.WORKER: ports.worker_metrics,
            Role.PROVISIONING: ports.provisioning_metrics,
            Role.CONSOLE: ports.console_metrics,
        }
        return found if self.monitoring.block else {}

    @property
    def control_host(self) -> str:
        """Where the control database is."""
        return self.databases.control or self.with_role(Role.DATABASE)[0]

    @property
    def staging_hosts(self) -> list[str]:
        """Where staging databases are."""
        return self.databases.staging or self.with_role(Role.DATABASE)

    def full_name(self, host: str) -> str:
        """A host's name in the zone."""
        return f"{host}.{self.installation.domain}"
