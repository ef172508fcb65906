"""What is wrong with a topology, all of it at once; and whether what was rendered is what the flows say."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from satchel.deploy.flows import flows_of
from satchel.deploy.hosts.firewall import PATH, expected_rules, rules_of
from satchel.deploy.topology import Block, Role, Topology
from satchel.settings.load import known_names

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NEEDED = (Role.SYNC, Role.WORKER, Role.PROVISIONING, Role.BALANCER, Role.DATABASE, Role.DNS)
_RESERVED = {"sync", "www"}


def problems_of(topology: Topology) -> list[str]:
    """One sentence a problem; empty: it can be rendered."""
    found = [*_names(topology), *_blocks(topology), *_roles(topology), *_objects(topology), *_settings(topology)]
    if not found:  # addresses and names are good, so flows mean something
        found = [*_ports(topology), *_peers(topology)]
    return found


def differences_of(topology: Topology, files: Mapping[str, str]) -> list[str]:
    """Flows without a rule and rules without a flow, host by host, read from the rendered rules themselves."""
    flows, found = flows_of(topology), []
    for host in topology.hosts:
        expected = expected_rules(topology, host, flows)
        standing = rules_of(files.get(f"hosts/{host}/{PATH}", ""))
        found += [f"{host}: the flow {_flow(one)} has no rule." for one in sorted(expected - standing)]
        found += [f"{host}: the rule {_flow(one)} stands for no flow." for one in sorted(standing - expected)]
    return found


def _flow(rule: tuple[str, str, str, int]) -> str:
    direction, peer, protocol, port = rule
    return f"{'from' if direction == 'input' else 'to'} {peer}, {protocol} port {port},"


def _names(topology: Topology) -> Iterator[str]:
    for name in topology.hosts:
        if not _LABEL.fullmatch(name):
            yield f"hosts.{name}: a host's name has letters, digits and hyphens, as DNS asks for."
        if name in _RESERVED or name in list(Role):
            yield f"hosts.{name}: that name is taken; give the host a number, such as {name}1."
    labels = topology.installation.domain.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        yield f"installation.domain: {topology.installation.domain!r} is no domain."
    for host in (topology.databases.control, *topology.databases.staging):
        if host and (host not in topology.hosts or Role.DATABASE not in topology.hosts[host].roles):
            yield f"databases: {host!r} is no host with the role 'database'."


def _blocks(topology: Topology) -> Iterator[str]:
    network = _block(topology.installation.network)
    if network is None:
        yield f"installation.network: {topology.installation.network!r} is no address block."
        return
    subnets = {name: _block(text) for name, text in topology.subnets.items()}
    for name, block in subnets.items():
        if block is None:
            yield f"subnets.{name}: {topology.subnets[name]!r} is no address block, such as 10.0.1.0/24."
        elif not _is_within(block, network):
            yield f"subnets.{name}: {block} is not in {network}."
        for other, that in subnets.items():
            if other < name and block is not None and that is not None and block.overlaps(that):
                yield f"subnets.{name}: {block} overlaps with {other}, {that}."
    yield from _addresses(topology, {name: block for name, block in subnets.items() if block is not None})
    written = [(f"sources.{name}", one) for name, source in topology.sources.items() for one in source.addresses]
    written += [("administration.block", topology.administration.block)] if topology.administration.block else []
    written += [("monitoring.block", topology.monitoring.block)] if topology.monitoring.block else []
    written += [("dns.forwarders", one) for one in topology.dns.forwarders]
    for where, text in written:
        if _block(text) is None:
            yield f"{where}: {text!r} is no address or block."


def _addresses(topology: Topology, subnets: Mapping[str, Block]) -> Iterator[str]:
    for name, host in topology.hosts.items():
        try:
            address = ipaddress.ip_address(host.address)
        except ValueError:
            yield f"hosts.{name}: {host.address!r} is no address."
            continue
        block = subnets.get(host.subnet)
        if host.subnet not in topology.subnets:
            yield f"hosts.{name}: there is no subnet {host.subnet!r}; there are {', '.join(topology.subnets)}."
        elif block is not None and address not in block:
            yield f"hosts.{name}: {address} is not in {host.subnet}, {block}."
        elif block is not None and address in (block.network_address, block.broadcast_address):
            yield f"hosts.{name}: {address} is {host.subnet}'s own address."
    for text, count in Counter(host.address for host in topology.hosts.values()).items():
        if count > 1:
            names = ", ".join(name for name, host in topology.hosts.items() if host.address == text)
            yield f"hosts {names}: they share the address {text}."


def _roles(topology: Topology) -> Iterator[str]:
    for role in _NEEDED:
        if not topology.with_role(role):
            yield f"No host has the role {str(role)!r}."
    if topology.with_role(Role.CONSOLE) and not topology.administration.block:
        yield "administration.block: there is a host with the role 'console', and nobody could reach it."
    identity = topology.identity
    if identity.console_client_id and not (identity.issuer and identity.audience and identity.administrators):
        yield "identity.console_client_id: it needs identity.issuer, identity.audience and identity.administrators."
    issuer = topology.identity.issuer
    if topology.with_role(Role.IDENTITY) and not issuer:
        yield "identity.issuer: there is a host for it, but no issuer."
    if issuer:
        yield from _issuer(topology, urlsplit(issuer))


def _objects(topology: Topology) -> Iterator[str]:
    """What one host seals or logs, the others must find."""
    hosts = topology.with_role(Role.SYNC, Role.WORKER, Role.CONSOLE)
    if len(hosts) > 1 and not topology.objects.url and not topology.settings.get("storage", {}).get("url"):
        yield (
            f"objects.url: {', '.join(hosts)} would keep objects in a folder each, where the others do not find them; "
            "give them one storage (s3://, az:// or gs://)."
        )


def _issuer(topology: Topology, address: SplitResult) -> Iterator[str]:
    """What is in the installation's own domain is one of its hosts, and has its port."""
    name = address.hostname or ""
    hosts = topology.with_role(Role.IDENTITY)
    if address.scheme != "https" or not name:
        yield f"identity.issuer: {topology.identity.issuer!r} is no https address."
    elif hosts and name not in [topology.full_name(host) for host in hosts]:
        yield f"identity.issuer: {name} is none of the hosts with the role 'identity'."
    elif not hosts and name.endswith(f".{topology.installation.domain}"):
        yield f"identity.issuer: {name} is no host of this topology."
    if address.scheme == "https" and (address.port or 443) != topology.ports.identity:
        yield f"identity.issuer: its port is not ports.identity, {topology.ports.identity}."


def _settings(topology: Topology) -> Iterator[str]:
    known = known_names()
    for section, values in topology.settings.items():
        for name in values:
            if f"{section}.{name}" not in known:
                yield f"settings.{section}.{name}: there is no such setting; docs/reference/settings.md lists them all."
            elif any(word in name for word in ("secret", "password", "client_secret")) or name == "key":
                yield f"settings.{section}.{name}: a secret does not belong into a topology; hand it over as a file."


def _ports(topology: Topology) -> Iterator[str]:
    """A host listens once on a port; the front and the sync server share theirs on two addresses."""
    ports = topology.ports
    listening = {
        Role.BALANCER: [("tcp", ports.sync)],
        Role.SYNC: [("tcp", ports.sync_server), ("tcp", ports.management)],
        Role.CONSOLE: [("tcp", ports.console)],
        Role.DATABASE: [("tcp", ports.database)],
        Role.DNS: [("tcp", ports.dns), ("udp", ports.dns)],
        Role.IDENTITY: [("tcp", ports.identity)],
        Role.OBJECTS: [("tcp", ports.objects)],
    }
    for role, port in topology.metrics_ports().items():
        listening.setdefault(role, []).append(("tcp", port))
    for name, host in topology.hosts.items():
        taken = Counter(one for role in host.roles for one in listening.get(role, []))
        if topology.administration.block:
            taken["tcp", topology.administration.ssh_port] += 1
        for (protocol, port), count in taken.items():
            if count > 1:
                yield f"hosts.{name}: {count} of its roles listen on {protocol} port {port}."


def _peers(topology: Topology) -> Iterator[str]:
    for flow in flows_of(topology):
        for peer in (flow.origin, flow.target):
            if peer not in topology.hosts and peer not in {"anywhere", "outside"} and _block(peer) is None:
                yield f"allow: {peer!r} is no host, role, block, nor `anywhere` or `outside`."


def _block(text: str) -> Block | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _is_within(block: Block, network: Block) -> bool:
    return (
        block.version == network.version
        and network.network_address <= block.network_address  # type: ignore[operator]
        and block.broadcast_address <= network.broadcast_address  # type: ignore[operator]
    )
