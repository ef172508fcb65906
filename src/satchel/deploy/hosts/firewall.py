"""nftables rules of a host: everything is dropped but what flows allow. And their reverse, for the check."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network

from satchel.deploy.flows import ANYWHERE, OUTSIDE, Flow
from satchel.deploy.topology import Topology

PATH = "etc/nftables.conf"
_COMMENT_CHARACTERS = 120  # nft takes 128 bytes
_RULE = re.compile(
    r"(?:(?P<family>ip6?) (?P<side>[sd])addr (?P<peer>(?:!= )?[\w.:/]+) )?"
    r'(?P<protocol>tcp|udp) dport (?P<port>\d+) ct state new accept comment ".*"'
)


def render_firewall(topology: Topology, host: str, flows: Iterable[Flow]) -> str:
    """`/etc/nftables.conf`; it replaces what stands, in one step."""
    incoming = [_rule(topology, flow, flow.origin, "s") for flow in flows if flow.target == host]
    outgoing = [_rule(topology, flow, flow.target, "d") for flow in flows if flow.origin == host]
    return f"""#!/usr/sbin/nft -f
flush ruleset

table inet satchel {{
{_chain("input", ["iif lo accept", *_ALWAYS], incoming)}
  chain forward {{
    type filter hook forward priority filter; policy drop;
  }}
{_chain("output", ["oif lo accept", *_ALWAYS], outgoing)}
}}
"""


_ALWAYS = [
    "ct state established,related accept",
    "ct state invalid drop",
    # Reachability tests and path MTU; without neighbour discovery IPv6 does not work at all.
    "icmp type echo-request limit rate 20/second accept",
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, nd-router-solicit } accept",
    "icmpv6 type echo-request limit rate 20/second accept",
]


def _chain(name: str, always: list[str], rules: list[str]) -> str:
    lines = [f"type filter hook {name} priority filter; policy drop;", *always, *rules]
    return "\n".join([f"  chain {name} {{", *(f"    {line}" for line in lines), "  }"])


def _rule(topology: Topology, flow: Flow, peer: str, side: str) -> str:
    comment = f"{flow.origin} to {flow.target}: {flow.why}"[:_COMMENT_CHARACTERS]
    return f'{_match(topology, peer, side)}{flow.protocol} dport {flow.port} ct state new accept comment "{comment}"'


def _match(topology: Topology, peer: str, side: str) -> str:
    if peer == ANYWHERE:
        return ""
    block, sign = (topology.installation.network, "!= ") if peer == OUTSIDE else (peer, "")
    if peer in topology.hosts:
        block = topology.hosts[peer].address
    family = "ip" if ip_network(block).version == 4 else "ip6"
    return f"{family} {side}addr {sign}{block} "


def rules_of(text: str) -> set[tuple[str, str, str, int]]:
    """What a host's rules accept: (direction, peer as it is written, protocol, port); read from the text alone."""
    found: set[tuple[str, str, str, int]] = set()
    direction = ""
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("chain "):
            direction = words.split()[1]
        rule = _RULE.fullmatch(words)
        if rule:
            found.add((direction, rule["peer"] or ANYWHERE, rule["protocol"], int(rule["port"])))
    return found


def expected_rules(topology: Topology, host: str, flows: Iterable[Flow]) -> set[tuple[str, str, str, int]]:
    """The same as the flows ask for it."""
    found: set[tuple[str, str, str, int]] = set()
    for flow in flows:
        if flow.target == host:
            found.add(("input", _written(topology, flow.origin), flow.protocol, flow.port))
        if flow.origin == host:
            found.add(("output", _written(topology, flow.target), flow.protocol, flow.port))
    return found


def _written(topology: Topology, peer: str) -> str:
    if peer in topology.hosts:
        return topology.hosts[peer].address
    return f"!= {topology.installation.network}" if peer == OUTSIDE else peer
