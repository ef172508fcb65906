"""A topology -> all files, by path. The same topology gives the same bytes; every file says what made it."""

from __future__ import annotations

from collections.abc import Iterator

from satchel.deploy import container, kubernetes
from satchel.deploy.flows import flows_of
from satchel.deploy.hosts import balancer, databases, firewall, names, settings, units
from satchel.deploy.topology import SERVICES, Role, Topology


def render(topology: Topology, origin: str) -> dict[str, str]:
    """Texts by path: `hosts/<host>/...` as it stands below the host's root, `kubernetes/`, `container/`.

    `origin` is how the topology is called in the files' first line.
    """
    files = {f"hosts/{host}/{path}": text for host in topology.hosts for path, text in host_files(topology, host)}
    files |= {f"kubernetes/{path}": text for path, text in kubernetes.manifests(topology)}
    files |= {f"container/{path}": text for path, text in container.container_files(topology)}
    return {path: _with_header(path, text, origin) for path, text in sorted(files.items())}


def host_files(topology: Topology, host: str) -> Iterator[tuple[str, str]]:
    """Path below the host's root and text, without the first line."""
    roles = set(topology.hosts[host].roles)
    yield firewall.PATH, firewall.render_firewall(topology, host, flows_of(topology))
    yield names.HOSTS_PATH, names.render_hosts(topology)
    if topology.with_role(Role.DNS):
        yield names.RESOLV_PATH, names.render_resolv(topology)
    if roles & set(SERVICES):
        yield settings.PATH, settings.render_settings(topology, host)
    if Role.BALANCER in roles:
        yield balancer.BALANCER_PATH, balancer.render_balancer(topology, host)
    if Role.SYNC in roles and topology.balancer.client_addresses:
        yield balancer.FRONT_PATH, balancer.render_front(topology, host)
    if Role.DATABASE in roles:
        yield databases.HBA_PATH, databases.render_hba(topology, host)
        yield databases.CONF_PATH, databases.render_conf(topology, host)
    if Role.DNS in roles:
        yield names.ZONE_PATH, names.render_zone(topology)
        yield names.NAMED_PATH, names.render_named(topology, host)
    yield from units.units_of(topology, host)


def _with_header(path: str, text: str, origin: str) -> str:
    mark = ";" if path.endswith(".zone") else "#"
    header = f"{mark} Made by `satchel deploy render {origin}`. Change the topology, not this file.\n"
    if text.startswith("#!"):
        first, rest = text.split("\n", 1)
        return f"{first}\n{header}{rest}"
    return header + text
