"""Fixtures of the tests of devices: a server over real TLS, a device enrolled there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from satchel.device import Device
from satchel.identity.certificates import ServerCertificate, ensure_server_certificate
from tests.unit.device.network import KEY, FakeNetwork, accepts


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return ensure_server_certificate(tmp_path_factory.mktemp("tls"), [])


@pytest.fixture
def network(certificate: ServerCertificate) -> Iterator[FakeNetwork]:
    running = FakeNetwork(certificate)
    server = Server(
        running, address="127.0.0.1", port=running.port, interface=Interfaces.ASGINL,
        ssl_cert=certificate.cert_file, ssl_key=certificate.key_file, log_enabled=False,
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),), daemon=True)
    thread.start()
    while not accepts(running.port):
        pass
    yield running
    loop.call_soon_threadsafe(server.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def device(network: FakeNetwork, tmp_path: Path) -> Iterator[Device]:
    with Device.enroll(network.link(), tmp_path / "device", key=KEY) as enrolled:
        yield enrolled
