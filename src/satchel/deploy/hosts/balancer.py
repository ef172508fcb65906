"""HAProxy: layer 4 in front of the sync servers, and on each sync server what gives it the devices' addresses.

TLS is passed through, so nothing can be added to a request; PROXY protocol tells the address in front of the first
byte. Satchel's HTTP server does not read it. So a second HAProxy on the sync server's own host takes it off and
connects over loopback *from the device's address* (transparent binding): every program behind sees it as the peer.
"""

from __future__ import annotations

from satchel.deploy.topology import Role, Topology

BALANCER_PATH = "etc/satchel/balancer.cfg"
FRONT_PATH = "etc/satchel/front.cfg"
FRONT_TABLE = 8443
"""Routing table that keeps answers to devices on the host until the front took them."""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
HEALTH_PATH = "/health/ready"


def render_balancer(topology: Topology, host: str) -> str:
    """The load balancer. 503 from a sync server (not ready, or on its way out) keeps what is connected and sends
    nothing new there; a server that does not answer at all loses its connections too, and devices try again."""
    balancer, ports = topology.balancer, topology.ports
    proxy = " send-proxy-v2 check-send-proxy" if balancer.client_addresses else ""
    servers = "\n".join(
        f"  server {name} {topology.hosts[name].address}:{ports.sync_server} "
        f"check-sni {topology.full_name(name)} verifyhost {topology.full_name(name)}{proxy}"
        for name in topology.with_role(Role.SYNC)
    )
    return f"""global
  log stdout format raw local0 info
  maxconn {balancer.max_connections}
  stats socket /run/satchel-balancer/admin.sock mode 600 level admin
  hard-stop-after {balancer.silence_seconds}s

{_defaults(balancer.silence_seconds)}

frontend sync
  bind {topology.hosts[host].address}:{ports.sync}
  log-format "%ci:%cp %b/%s %Tw/%Tc/%Tt %B %ts"
  stick-table type ipv6 size 100k expire 60s store conn_cur,conn_rate(10s)
  tcp-request connection track-sc0 src
  tcp-request connection reject if {{ sc0_conn_cur gt {balancer.connections_per_address} }}
  tcp-request connection reject if {{ sc0_conn_rate gt {balancer.new_connections_per_10_seconds} }}
  default_backend sync_servers

backend sync_servers
  balance leastconn
  option redispatch 1
  option httpchk
  http-check send meth GET uri {HEALTH_PATH} ver HTTP/1.1 hdr Host {topology.installation.domain}
  http-check expect status 200 error-status L7OKC
  default-server check check-ssl ca-file {CERTIFICATES} verify required inter 1s fastinter 500ms fall 2 rise 2 \
slowstart {balancer.slow_start_seconds}s on-marked-down shutdown-sessions
{servers}
"""


def render_front(topology: Topology, host: str) -> str:
    """What stands before a sync server on its own host: takes PROXY protocol, connects from the device's address."""
    port = topology.ports.sync_server
    return f"""global
  log stdout format raw local0 notice
  maxconn {topology.balancer.max_connections}
  hard-stop-after {topology.balancer.silence_seconds}s

{_defaults(topology.balancer.silence_seconds)}

frontend devices
  bind {topology.hosts[host].address}:{port} accept-proxy
  default_backend sync_server

backend sync_server
  # A health check comes from the host itself: PROXY protocol says "local", and there is no other address to bind.
  source 0.0.0.0 usesrc clientip
  server here 127.0.0.1:{port}
"""


def _defaults(silence_seconds: int) -> str:
    return f"""defaults
  mode tcp
  log global
  option dontlognull
  option clitcpka
  option srvtcpka
  option splice-auto
  retries 2
  timeout connect 3s
  timeout check 2s
  timeout queue 5s
  timeout client {silence_seconds}s
  timeout server {silence_seconds}s
  timeout client-fin 10s
  timeout server-fin 10s"""
