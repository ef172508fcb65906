"""TLS from the first day: a development certificate authority, made on first start, signs the server's certificate.

With a real certificate configured, none of this is used.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from satchel.identity.keys import write_private

CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(hours=1)  # clocks of devices may be a little behind


class ServerCertificate(msgspec.Struct, frozen=True):
    """What a TLS server needs, and what a device checks it by."""

    cert_file: Path
    key_file: Path
    """PKCS#8 PEM."""
    ca_file: Path | None
    ca_fingerprint: str | None
    """SHA-256 of the CA certificate's DER form, hexadecimal."""


def ensure_server_certificate(folder: Path, hostnames: Sequence[str]) -> ServerCertificate:
    """The development certificate for these names, made or renewed where needed. The CA stays as it is."""
    ca_file, ca_key_file = folder / "ca.pem", folder / "ca.key"
    cert_file, key_file = folder / "server.pem", folder / "server.key"
    if not (ca_file.exists() and ca_key_file.exists()):
        _make_ca(ca_file, ca_key_file)
    ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
    names = _names(hostnames)
    if not (key_file.exists() and _is_good(cert_file, ca, names)):
        ca_key = load_pem_private_key(ca_key_file.read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it
        _make_server(cert_file, key_file, names, ca, ca_key)
    return ServerCertificate(cert_file, key_file, ca_file, fingerprint_of(str(ca_file)))


def fingerprint_of(ca_file: str) -> str:
    """SHA-256 of the certificate's DER form, hexadecimal."""
    certificate = x509.load_pem_x509_certificate(Path(ca_file).read_bytes())
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def expiry_of(cert_file: Path) -> datetime:
    """When a certificate ends (the first of a chain: the server's own)."""
    return x509.load_pem_x509_certificates(cert_file.read_bytes())[0].not_valid_after_utc


def _names(hostnames: Sequence[str]) -> list[x509.GeneralName]:
    wanted = dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), *hostnames])
    names: list[x509.GeneralName] = []
    for name in wanted:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            names.append(x509.DNSName(name))
        else:
            if not address.is_unspecified:
                names.append(x509.IPAddress(address))
    return names


def _is_good(cert_file: Path, ca: x509.Certificate, names: list[x509.GeneralName]) -> bool:
    if not cert_file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    standing = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    is_fresh = certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
    return is_fresh and set(names) <= set(standing) and certificate.issuer == ca.subject


def _make_ca(ca_file: Path, ca_key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Satchel development CA {x509.random_serial_number():x}"[:64])]
    )
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key.public_key(), CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(ca_key_file, _pem(key))
    write_private(ca_file, certificate.public_bytes(serialization.Encoding.PEM))


def _make_server(
    cert_file: Path,
    key_file: Path,
    names: list[x509.GeneralName],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Satchel sync server")])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _builder(subject, ca.subject, key.public_key(), SERVER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(key_file, _pem(key))
    write_private(cert_file, certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
