"""DNS: the zone as it begins, the part of BIND's configuration that serves it, and what hosts resolve by."""

from __future__ import annotations

from satchel.deploy.topology import Role, Topology

ZONE_PATH = "etc/bind/satchel.zone"
NAMED_PATH = "etc/bind/named.conf"
RESOLV_PATH = "etc/resolv.conf"
HOSTS_PATH = "etc/hosts"
SERIAL = 1
"""Of the zone as it begins; each update by RFC 2136 counts it up at the server."""


def names_of(topology: Topology) -> dict[str, list[str]]:
    """Addresses by name, below the domain; "@" is the domain itself, where clients that know nothing else begin."""
    balancers = [topology.hosts[name].address for name in topology.with_role(Role.BALANCER)]
    return {"@": balancers, "sync": balancers, **{name: [host.address] for name, host in topology.hosts.items()}}


def render_zone(topology: Topology) -> str:
    """The zone file. Organizations' records come in by updates; the name server keeps them in its journal."""
    domain, ttl = topology.installation.domain, topology.dns.ttl_seconds
    servers = topology.with_role(Role.DNS)
    lines = [
        f"$ORIGIN {domain}.",
        f"$TTL {ttl}",
        f"@ IN SOA {servers[0]} {topology.dns.contact} ( {SERIAL} 3600 600 604800 {ttl} )",
        *(f"@ IN NS {name}" for name in servers),
    ]
    for name, addresses in names_of(topology).items():
        lines += [f"{name} IN {'AAAA' if ':' in address else 'A'} {address}" for address in addresses]
    return "\n".join([*lines, ""])


def render_named(topology: Topology, host: str) -> str:
    """BIND's configuration: the zone for everybody, other names for the installation's own hosts, updates only with
    the key *and* from a provisioning host."""
    installation, address, port = topology.installation, topology.hosts[host].address, topology.ports.dns
    updaters = "".join(f"{topology.hosts[name].address}; " for name in topology.with_role(Role.PROVISIONING))
    forward = "".join(f"{one}; " for one in topology.dns.forwarders)
    is_six = ":" in address
    return f"""include "/etc/satchel/secrets/tsig.key";

acl network {{ {installation.network}; }};
acl updaters {{ {updaters or "none; "}}};

options {{
  directory "/var/lib/satchel-dns";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {"none" if is_six else address}; }};
  listen-on-v6 port {port} {{ {address if is_six else "none"}; }};
  recursion yes;
  allow-recursion {{ network; }};
  allow-query-cache {{ network; }};
  allow-transfer {{ none; }};
  minimal-responses yes;{
        f'''
  forward only;
  forwarders {{ {forward}}};'''
        if forward
        else ""
    }
  rate-limit {{ responses-per-second 100; exempt-clients {{ network; }}; }};
}};

controls {{ }};

zone "{installation.domain}" {{
  type primary;
  file "/var/lib/satchel-dns/satchel.zone";
  allow-update {{ !{{ !updaters; any; }}; key "{topology.dns.key_name}"; }};
}};
"""


def render_resolv(topology: Topology) -> str:
    """The hosts' resolver. Name servers of the provider can stand behind these."""
    servers = [topology.hosts[name].address for name in topology.with_role(Role.DNS)]
    return "\n".join([f"search {topology.installation.domain}", *(f"nameserver {address}" for address in servers), ""])


def render_hosts(topology: Topology) -> str:
    """The installation's own hosts, so that services find each other while DNS is away."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{host.address} {topology.full_name(name)} {name}" for name, host in topology.hosts.items()]
    return "\n".join([*lines, ""])
