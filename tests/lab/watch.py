"""What the load balancer and the sync servers show of themselves."""

from __future__ import annotations

import csv
import io
import socket
from ipaddress import ip_address

from cryptography import x509

from tests.lab.build import Lab
from tests.lab.host import wait_for

_SOCKET = "/run/satchel-balancer/admin.sock"
_CERTIFICATE = """
import socket, ssl, sys
context = ssl.create_default_context()
with socket.create_connection((sys.argv[1], 443), timeout=5) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[1]) as secure:
        print(ssl.DER_cert_to_PEM_cert(secure.getpeercert(True)))
"""


def states(lab: Lab) -> dict[str, str]:
    """What the balancer thinks of each sync server: UP, DOWN, NOLB, ..."""
    with socket.socket(socket.AF_UNIX) as talk:
        try:
            talk.connect(str(lab.hosts["lb1"].path(_SOCKET)))
        except OSError:
            return {}
        talk.sendall(b"show stat\n")
        text = b""
        while piece := talk.recv(65536):
            text += piece
    rows = csv.DictReader(io.StringIO(text.decode().removeprefix("# ")))
    return {
        row["svname"]: row["status"].split()[0]
        for row in rows
        if row["pxname"] == "sync_servers" and row["svname"] != "BACKEND"
    }


def wait_until(lab: Lab, host: str, state: str) -> None:
    """The balancer has a sync server in that state."""
    wait_for(lambda: states(lab).get(host) == state, f"{host} to be {state} at the balancer")


def wait_until_all_up(lab: Lab) -> None:
    """Every sync server takes devices."""
    for host in lab.topology.with_role("sync"):  # type: ignore[arg-type]
        wait_until(lab, host, "UP")


def peers(lab: Lab, host: str) -> set[str]:
    """The addresses that a sync server sees at the other end of its connections."""
    found = set()
    for line in lab.hosts[host].sockets().splitlines()[1:]:
        _, local, remote, *_ = line.split()
        if local == f"0100007F:{lab.topology.ports.sync_server:04X}":
            found.add(str(ip_address(bytes.fromhex(remote[:8])[::-1])))
    return found


def served_serial(lab: Lab, name: str) -> int:
    """Serial number of the certificate that a client is shown."""
    pem = lab.hosts["client1"].run(["python3", "-c", _CERTIFICATE, name])
    return x509.load_pem_x509_certificate(pem.encode()).serial_number
