"""systemd units of a host: what it runs, with as little leave as it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from satchel.deploy.hosts.balancer import FRONT_TABLE
from satchel.deploy.topology import Role, Topology

FOLDER = "etc/systemd/system"
_HARDENED = """ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
NoNewPrivileges=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
UMask=0077"""
_SECRETS = {"master.key": "/etc/satchel/secrets/master.key", "pgpass": "/etc/satchel/secrets/pgpass"}
_STOP_SECONDS = 40


def units_of(topology: Topology, host: str) -> Iterator[tuple[str, str]]:
    """Path and text of each unit; databases keep their distribution's unit."""
    roles = topology.hosts[host].roles
    for role in (Role.PROVISIONING, Role.WORKER, Role.SYNC, Role.CONSOLE):
        if role in roles:
            yield f"{FOLDER}/satchel-{role}.service", _service(topology, role)
    if Role.SYNC in roles and topology.balancer.client_addresses:
        yield f"{FOLDER}/satchel-front.service", _front(topology)
    if Role.BALANCER in roles:
        yield f"{FOLDER}/satchel-balancer.service", _balancer(topology)
    if Role.DNS in roles:
        yield f"{FOLDER}/satchel-dns.service", _dns()


def _service(topology: Topology, role: Role) -> str:
    program, config = topology.installation.program, "--config /etc/satchel/satchel.toml"
    secrets = dict(_SECRETS)
    environment = ["SATCHEL_DATA__FOLDER=%S/satchel", "SATCHEL_SECRETS__KEY_FILE=%d/master.key", "PGPASSFILE=%d/pgpass"]
    if role in {Role.SYNC, Role.CONSOLE}:
        secrets["host.key"] = "/etc/satchel/tls/host.key"
        environment.append("SATCHEL_SYNC__TLS_KEY_FILE=%d/host.key")
    if role is Role.CONSOLE and topology.identity.console_client_id:
        secrets["console.secret"] = "/etc/satchel/secrets/console.secret"
        environment.append("SATCHEL_CONSOLE__CLIENT_SECRET_FILE=%d/console.secret")
    if role is Role.PROVISIONING:
        secrets["tsig.secret"] = "/etc/satchel/secrets/tsig.secret"
        environment.append("SATCHEL_DNS__KEY_SECRET_FILE=%d/tsig.secret")
    lines = [f"LoadCredential={name}:{path}" for name, path in secrets.items()]
    lines += [f"Environment={one}" for one in environment]
    if role is Role.PROVISIONING:  # the one that brings the databases to this version; others may still be older
        lines.append(f"ExecStartPre={program} run migrate --pre {config}")
    lines.append(f"ExecStart={program} run {role} {config}")
    lines += ["DynamicUser=yes", "StateDirectory=satchel", f"TimeoutStopSec={_STOP_SECONDS}"]
    return _unit(f"Satchel: {_WHAT[role]}", lines)


_WHAT = {
    Role.PROVISIONING: "provisioning service",
    Role.WORKER: "data sync worker",
    Role.SYNC: "sync server",
    Role.CONSOLE: "console for administrators",
}


def _front(topology: Topology) -> str:
    """Answers to a device's address would leave the host; the rule keeps those of loopback for the front."""
    rule = f"from 127.0.0.0/8 iif lo table {FRONT_TABLE}"
    route = f"local 0.0.0.0/0 dev lo table {FRONT_TABLE}"
    lines = [
        f"ExecStartPre=+-/sbin/ip rule del {rule}",
        f"ExecStartPre=+/sbin/ip rule add {rule}",
        f"ExecStartPre=+/sbin/ip route replace {route}",
        "ExecStart=/usr/sbin/haproxy -Ws -f /etc/satchel/front.cfg",
        "ExecReload=/bin/kill -USR2 $MAINPID",
        f"LimitNOFILE={_open_files(topology)}",
        "KillMode=mixed",
        "KillSignal=SIGUSR1",
        f"TimeoutStopSec={_STOP_SECONDS}",
        "DynamicUser=yes",
        # To bind an address that is not the host's own.
        "CapabilityBoundingSet=CAP_NET_RAW",
        "AmbientCapabilities=CAP_NET_RAW",
    ]
    return _unit("Satchel: the sync server's front, which knows the devices' addresses", lines)


def _balancer(topology: Topology) -> str:
    check = "ExecStartPre=/usr/sbin/haproxy -c -q -f /etc/satchel/balancer.cfg"
    lines = [
        check,
        "ExecStart=/usr/sbin/haproxy -Ws -f /etc/satchel/balancer.cfg",
        "ExecReload=/bin/kill -USR2 $MAINPID",
        f"LimitNOFILE={_open_files(topology)}",
        "KillMode=mixed",
        "KillSignal=SIGUSR1",
        "RuntimeDirectory=satchel-balancer",
        f"TimeoutStopSec={_STOP_SECONDS}",
        "DynamicUser=yes",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ]
    return _unit("Satchel: layer-4 load balancer", lines)


def _open_files(topology: Topology) -> int:
    """Two sockets a connection, two pipes for a part of them (splicing), and some for itself."""
    return topology.balancer.max_connections * 5 // 2 + 1000


def _dns() -> str:
    lines = [
        # The zone is copied once: from then on it belongs to the server, which writes the updates to it.
        "ExecStartPre=/bin/cp --no-clobber /etc/bind/satchel.zone %S/satchel-dns/satchel.zone",
        "ExecStart=/usr/sbin/named -f -c /etc/bind/named.conf",
        "StateDirectory=satchel-dns",
        "User=bind",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ]
    return _unit("Satchel: name server of the installation's zone", lines)


def _unit(description: str, service: Sequence[str]) -> str:
    lines = "\n".join(service)
    return f"""[Unit]
Description={description}
Wants=network-online.target
After=network-online.target nftables.service
StartLimitIntervalSec=0

[Service]
Type=exec
{lines}
Restart=always
RestartSec=1
{_HARDENED}

[Install]
WantedBy=multi-user.target
"""
