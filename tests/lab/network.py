"""The lab's network: a bridge for each subnet, a router that filters nothing, hosts in namespaces of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

from satchel.deploy.topology import Topology

CLIENTS = "203.0.113.0/24"
SOURCES = "198.51.100.0/24"
"""Outside: devices and sources are on networks that the installation knows nothing of (RFC 5737)."""


def ip(*commands: str) -> None:
    """Run several `ip` commands at once."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, capture_output=True)


class Network:
    """This process's own network namespace is the router; hosts hang on its bridges."""

    def __init__(self, topology: Topology) -> None:
        self._blocks = {**topology.subnets, "clients": CLIENTS, "sources": SOURCES}
        self._ports: dict[str, str] = {}

    def make(self, hosts: dict[str, tuple[str, str]]) -> None:
        """Bridges, then hosts: name -> (subnet, address)."""
        subprocess.run(["mount", "-t", "tmpfs", "lab", "/run"], check=True)
        Path("/run/netns").mkdir()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        commands = ["link set lo up"]
        for number, (name, text) in enumerate(self._blocks.items(), start=1):
            block = ip_network(text)
            commands += [
                # Without an address of its own, a bridge takes the lowest one of its ports: the router's would change
                # whenever a port comes or goes, and hosts would send to the old one until they ask again, 30 s later.
                f"link add {name} address 02:00:00:00:00:{number:02x} type bridge forward_delay 0",
                f"address add {block[1]}/{block.prefixlen} dev {name}",
                f"link set {name} up",
            ]
        for number, (name, (subnet, address)) in enumerate(hosts.items()):
            port, block = f"port{number}", ip_network(self._blocks[subnet])
            self._ports[name] = port
            commands += [
                f"netns add {name}",
                f"link add {port} type veth peer name eth0 netns {name}",
                f"link set {port} master {subnet} up",
                f"-n {name} address add {address}/{block.prefixlen} dev eth0",
                f"-n {name} link set lo up",
                f"-n {name} link set eth0 up",
                f"-n {name} route add default via {block[1]}",
            ]
        # `-n` names a namespace only on the command line, not within a batch.
        plain = [command for command in commands if not command.startswith("-n ")]
        ip(*plain)
        for name in hosts:
            inner = [command.removeprefix(f"-n {name} ") for command in commands if command.startswith(f"-n {name} ")]
            subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(inner), text=True, check=True)

    def unplug(self, host: str) -> None:
        """Cut a host from everything: what it sends goes nowhere, and nothing comes back."""
        ip(f"link set {self._ports[host]} down")

    def plug(self, host: str) -> None:
        """The reverse."""
        ip(f"link set {self._ports[host]} up")

    def move(self, hosts: Sequence[str], bridge: str) -> None:
        """Plug hosts into another bridge; their connections go on."""
        ip(*(f"link set {self._ports[host]} master {bridge}" for host in hosts))


def cut(host: str, addresses: Sequence[str]) -> None:
    """A host no longer hears these addresses, nor is heard by them: a network partition between two."""
    peers = ", ".join(addresses)
    rules = (
        "table inet partition {\n"
        f" chain input {{\n type filter hook input priority -10;\n ip saddr {{ {peers} }} drop\n }}\n"
        f" chain output {{\n type filter hook output priority -10;\n ip daddr {{ {peers} }} drop\n }}\n}}\n"
    )
    subprocess.run(["ip", "netns", "exec", host, "nft", "-f", "-"], input=rules, text=True, check=True)


def mend(host: str) -> None:
    """The reverse."""
    subprocess.run(["ip", "netns", "exec", host, "nft", "delete", "table", "inet", "partition"], check=True)
