"""Satchel's own settings on a host. Secrets are not among them: units hand those over as files."""

from __future__ import annotations

from collections.abc import Mapping

from satchel.deploy.hosts.balancer import CERTIFICATES
from satchel.deploy.topology import Role, Topology

PATH = "etc/satchel/satchel.toml"
DRAIN_NOTICE_SECONDS = 3
"""Longer than the load balancer takes to notice that a sync server is on its way out."""
Tree = dict[str, dict[str, object]]


def render_settings(topology: Topology, host: str) -> str:
    """`satchel.toml` of a host; what the topology says in [settings] comes last."""
    found, ports = topology.hosts[host], topology.ports
    address = found.address
    sync_host = "127.0.0.1" if topology.balancer.client_addresses else address
    tree = common_settings(topology)
    tree["sync"] |= {"host": sync_host, "port": ports.sync_server, "tls_certificate_file": "/etc/satchel/tls/host.pem"}
    tree["management"] = {"host": address, "port": ports.management}
    if Role.CONSOLE in found.roles:
        url = f"https://{topology.full_name(host)}:{ports.console}"
        tree["console"] = {"host": address, "port": ports.console, "public_url": url} | console_sign_in(topology)
    if topology.monitoring.block:
        metrics = {f"{role}_port": port for role, port in topology.metrics_ports().items() if role in found.roles}
        tree["metrics"] = {"host": address, **metrics}
    if Role.PROVISIONING in found.roles:
        tree["dns"] |= kept_names(topology)
    return written(merged(tree, topology.settings))


def common_settings(topology: Topology) -> Tree:
    """What all processes of the installation have in common, wherever they run."""
    first, *others = topology.staging_hosts
    servers = {name: database_url(topology, name) for name in others}
    tree: Tree = {
        "database": {"url": database_url(topology, topology.control_host)},
        "staging": {"url": database_url(topology, first), "servers": servers}
        if servers
        else {"url": database_url(topology, first)},
        "sync": {"public_url": public_url(topology), "drain_notice_seconds": DRAIN_NOTICE_SECONDS},
        "dns": {"zone": topology.installation.domain, "endpoint_port": topology.ports.sync},
        "log": {"format": "json"},
    }
    if topology.objects.url:
        tree["storage"] = {"url": topology.objects.url}
    if topology.identity.issuer:
        identity = topology.identity
        tree["sign_in"] = {"issuer": identity.issuer, "device_client_id": identity.client_id}
        for key in ("audience", "administrators", "tenants", "management_tenants"):
            if value := getattr(identity, key):
                tree["sign_in"][key] = value
    return tree


def console_sign_in(topology: Topology) -> dict[str, object]:
    """What the console is at the issuer; the application's secret is handed over as a file."""
    client_id = topology.identity.console_client_id
    return {"client_id": client_id} if client_id else {}


def kept_names(topology: Topology) -> dict[str, object]:
    """How the provisioning service keeps the zone; the key's secret is handed over as a file."""
    return {
        "server": topology.hosts[topology.with_role(Role.DNS)[0]].address,
        "port": topology.ports.dns,
        "key_name": topology.dns.key_name,
        "target": f"sync.{topology.installation.domain}",
        "ttl_seconds": topology.dns.ttl_seconds,
    }


def database_url(topology: Topology, host: str) -> str:
    """Without a password; libpq takes it from the file that PGPASSFILE names. A server that is gone is noticed soon."""
    where = f"{topology.databases.user}@{topology.full_name(host)}:{topology.ports.database}/postgres"
    patience = "connect_timeout=5&keepalives_idle=10&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=20000"
    return f"postgresql://{where}?sslmode=verify-full&sslrootcert={CERTIFICATES}&{patience}"


def public_url(topology: Topology) -> str:
    """Where devices begin."""
    port = "" if topology.ports.sync == 443 else f":{topology.ports.sync}"
    return f"https://sync.{topology.installation.domain}{port}"


def merged(lower: Tree, upper: Mapping[str, Mapping[str, object]]) -> Tree:
    """Section by section, the upper one wins."""
    return {name: {**lower.get(name, {}), **upper.get(name, {})} for name in dict.fromkeys((*lower, *upper))}


def written(tree: Tree) -> str:
    """As TOML."""
    lines: list[str] = []
    for section, values in tree.items():
        lines += [f"[{section}]", *(f"{name} = {_value(value)}" for name, value in values.items()), ""]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_value(one)}' for name, one in value.items())} }}"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
