"""Who may talk to whom: derived from roles, host by host. Firewalls, network policies and checks stand on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from satchel.deploy.topology import SERVICES, Role, Topology

ANYWHERE = "anywhere"
"""Any address."""
OUTSIDE = "outside"
"""Any address that is not in the installation's network."""


class Flow(msgspec.Struct, frozen=True, order=True):
    """New connections (or datagrams) that are allowed; what answers them is allowed with it."""

    origin: str
    """A host's name, a block, `anywhere`, or `outside`."""
    target: str
    protocol: Literal["tcp", "udp"]
    port: int
    why: str


def flows_of(topology: Topology) -> list[Flow]:
    """Every allowed flow once, in a stable order."""
    found: dict[tuple[str, str, str, int], Flow] = {}
    for flow in (*_from_devices(topology), *_between_services(topology), *_to_outside(topology), *_extra(topology)):
        if flow.origin != flow.target:
            found.setdefault((flow.origin, flow.target, flow.protocol, flow.port), flow)
    return sorted(found.values())


def _from_devices(topology: Topology) -> Iterator[Flow]:
    ports = topology.ports
    yield from _tcp([ANYWHERE], topology.with_role(Role.BALANCER), ports.sync, "devices sync")
    yield from _tcp([ANYWHERE], topology.with_role(Role.IDENTITY), ports.identity, "users sign in")
    yield from _dns(topology, [ANYWHERE], "names are asked for")


def _between_services(topology: Topology) -> Iterator[Flow]:
    ports = topology.ports
    services, sync = topology.with_role(*SERVICES), topology.with_role(Role.SYNC)
    databases = sorted({topology.control_host, *topology.staging_hosts}, key=list(topology.hosts).index)
    yield from _tcp(topology.with_role(Role.BALANCER), sync, ports.sync_server, "syncs are passed on")
    yield from _tcp(services, databases, ports.database, "control and staging databases")
    tellers = topology.with_role(Role.WORKER, Role.PROVISIONING)
    yield from _tcp(tellers, sync, ports.management, "organizations and models are announced")
    yield from _tcp(services, topology.with_role(Role.OBJECTS), ports.objects, "snapshots, logs and traces")
    yield from _tcp(services, topology.with_role(Role.IDENTITY), ports.identity, "keys of the issuer")
    yield from _dns(topology, list(topology.hosts), "names are asked for, records are kept")
    for role, metrics_port in topology.metrics_ports().items():
        yield from _tcp([topology.monitoring.block], topology.with_role(role), metrics_port, "metrics")
    if topology.administration.block:
        block, port = topology.administration.block, topology.administration.ssh_port
        yield from _tcp([block], list(topology.hosts), port, "administrators")
        yield from _tcp([block], topology.with_role(Role.CONSOLE), topology.ports.console, "administrators' browsers")


def _to_outside(topology: Topology) -> Iterator[Flow]:
    # Provisioning checks a source before it is kept, the console a profile against it.
    readers = topology.with_role(Role.WORKER, Role.PROVISIONING, Role.CONSOLE)
    for name, source in topology.sources.items():
        yield from _tcp(readers, source.addresses or [OUTSIDE], source.port, f"source {name}")
    for server in topology.with_role(Role.DNS):
        for target in topology.dns.forwarders or [OUTSIDE]:
            yield Flow(server, target, "udp", 53, "names of others")
            yield Flow(server, target, "tcp", 53, "names of others")
    services = topology.with_role(*SERVICES)
    if topology.identity.issuer and not topology.with_role(Role.IDENTITY):
        yield from _tcp(services, [OUTSIDE], topology.ports.identity, "keys of the issuer")
    if topology.objects.url and not topology.with_role(Role.OBJECTS):
        yield from _tcp(services, [OUTSIDE], topology.ports.objects, "snapshots, logs and traces")


def _extra(topology: Topology) -> Iterator[Flow]:
    for one in topology.allow:
        for origin in _peers(topology, one.origin):
            for target in _peers(topology, one.target):
                yield Flow(origin, target, one.protocol, one.port, one.why)


def _peers(topology: Topology, name: str) -> Sequence[str]:
    if name in list(Role):
        return topology.with_role(Role(name))
    return [name]


def _dns(topology: Topology, origins: Iterable[str], why: str) -> Iterator[Flow]:
    for origin in origins:
        for server in topology.with_role(Role.DNS):
            yield Flow(origin, server, "udp", topology.ports.dns, why)
            yield Flow(origin, server, "tcp", topology.ports.dns, why)


def _tcp(origins: Iterable[str], targets: Sequence[str], port: int, why: str) -> Iterator[Flow]:
    for origin in origins:
        for target in targets:
            yield Flow(origin, target, "tcp", port, why)
