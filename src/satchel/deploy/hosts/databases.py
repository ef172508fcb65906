"""PostgreSQL: who may sign in from where, and what differs from the distribution's configuration."""

from __future__ import annotations

from satchel.deploy.flows import flows_of
from satchel.deploy.topology import SERVICES, Topology

HBA_PATH = "etc/satchel/postgresql/pg_hba.conf"
CONF_PATH = "etc/satchel/postgresql/satchel.conf"


def render_hba(topology: Topology, host: str) -> str:
    """Over TLS with a password (SCRAM), from the hosts that have a flow here; on the host itself as its owner."""
    lines = ["# type  database  user  address  method", "local   all  all  peer"]
    for flow in flows_of(topology):
        if flow.target == host and flow.port == topology.ports.database and flow.origin in topology.hosts:
            address = topology.hosts[flow.origin].address
            lines.append(f"hostssl all  all  {address}/{128 if ':' in address else 32}  scram-sha-256  # {flow.origin}")
    return "\n".join([*lines, ""])


def render_conf(topology: Topology, host: str) -> str:
    """Included by `postgresql.conf`. A host that vanishes is noticed within a minute, so that its locks go."""
    clients = len(topology.with_role(*SERVICES))
    return f"""listen_addresses = '{topology.hosts[host].address}'
port = {topology.ports.database}
hba_file = '/etc/satchel/postgresql/pg_hba.conf'
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = '/etc/satchel/tls/host.pem'
ssl_key_file = '/etc/satchel/tls/host.key'
max_connections = {100 + 60 * clients}
tcp_keepalives_idle = 10
tcp_keepalives_interval = 5
tcp_keepalives_count = 4
tcp_user_timeout = 30000
jit = off
"""
