"""What nobody renders: an authority of the lab's own, certificates, the master key, passwords."""

from __future__ import annotations

import base64
import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from satchel.deploy.topology import SERVICES, Role, Topology
from tests.lab.host import AUTHORITIES

_DAY = timedelta(days=1)


class Authority:
    """Signs certificates that the lab's hosts trust beside the system's."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Satchel lab authority")
        self._certificate = (
            _builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def authorities(self) -> bytes:
        """The system's authorities with this one."""
        system = Path(AUTHORITIES)
        known = system.read_bytes() if system.exists() else b""
        return known + self._certificate.public_bytes(serialization.Encoding.PEM)

    def certificate(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) for names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = (
            _builder(_name(names[0]), self._certificate.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return signed.public_bytes(serialization.Encoding.PEM), pem


class Secrets:
    """The files that an administrator puts on each host."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.authority = Authority()
        self.database_password = secrets.token_hex(16)
        self._master_key = base64.b64encode(secrets.token_bytes(32))
        self._tsig = base64.b64encode(secrets.token_bytes(32)).decode()

    def of_host(self, name: str) -> dict[str, bytes]:
        """Paths below /etc and what stands there."""
        roles = set(self._topology.hosts[name].roles)
        files = {AUTHORITIES.removeprefix("/etc/"): self.authority.authorities}
        if roles & set(SERVICES):
            files["satchel/secrets/master.key"] = self._master_key
            files["satchel/secrets/pgpass"] = self._pgpass()
        if Role.PROVISIONING in roles:
            files["satchel/secrets/tsig.secret"] = self._tsig.encode()
        if Role.DNS in roles:
            files["satchel/secrets/tsig.key"] = (
                f'key "{self._topology.dns.key_name}" {{ algorithm hmac-sha256; secret "{self._tsig}"; }};\n'.encode()
            )
        if roles & {Role.SYNC, Role.CONSOLE, Role.DATABASE, Role.IDENTITY}:
            files["satchel/tls/host.pem"], files["satchel/tls/host.key"] = self.certificate_of(name)
        return files

    def certificate_of(self, name: str) -> tuple[bytes, bytes]:
        """A new certificate of a host: its own names, and on sync servers those that devices call."""
        names = [self._topology.full_name(name), self._topology.hosts[name].address]
        if Role.SYNC in self._topology.hosts[name].roles:
            names += [f"*.{self._topology.installation.domain}", self._topology.installation.domain]
        return self.authority.certificate(names)

    def _pgpass(self) -> bytes:
        lines = [
            f"{self._topology.full_name(name)}:*:*:{self._topology.databases.user}:{self.database_password}\n"
            for name in self._topology.with_role(Role.DATABASE)
        ]
        return "".join(lines).encode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )
