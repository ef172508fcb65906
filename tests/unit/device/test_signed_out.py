"""A device whose user signed out sends nothing of its own, but the server hears of it, and it hears of a wipe."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from satchel.device import Device
from satchel.device.edits.sender import sending
from satchel.device.sign_in.kept import STATE, KeptSignIn, read_kept, sign_out, write_kept
from satchel.device.store import Store
from satchel.errors import DeviceWiped, SatchelError, SignInNeeded, WipeOrdered
from satchel.protocol.messages import SignInOptions
from tests.unit.device import lines as l
from tests.unit.device.network import KEY, FakeNetwork, first_sync
from tests.unit.device.test_edits import MODEL, A


@pytest.fixture
def signed_in(network: FakeNetwork, device: Device) -> Device:
    """A device of a user who signed in, with one row."""
    first_sync(network, device, l.contact("a"))
    options = SignInOptions("http://127.0.0.1:1", "device", "openid", "access", "http://localhost", tenants=[])
    write_kept(device._writer, KeptSignIn(options, None, 4e9, 4e9))
    return device


def test_a_server_that_was_not_reached_is_told_with_the_next_try(network: FakeNetwork, signed_in: Device) -> None:
    network.sign_out_status = 503
    [problem] = signed_in.sign_out()
    assert "not told yet" in problem
    network.sign_out_status = 204
    asked = len(network.requests)

    with pytest.raises(SignInNeeded, match="signed out"):
        signed_in.sync()

    assert network.signed_out == [503, 204]
    assert len(network.requests) == asked  # nothing else was sent


def test_a_wipe_reaches_a_device_whose_user_signed_out(network: FakeNetwork, signed_in: Device, tmp_path: Path) -> None:
    signed_in.sign_out()
    network.sign_out_status = 403

    with pytest.raises(DeviceWiped):
        signed_in.sync()

    assert not (tmp_path / "device" / "device.sqlite").exists()
    assert network.confirmed == 1


def test_who_signs_out_of_a_device_that_is_to_be_wiped_leaves_nothing(
    network: FakeNetwork, signed_in: Device, tmp_path: Path
) -> None:
    network.sign_out_status = 403

    with pytest.raises(DeviceWiped):
        signed_in.sign_out()

    assert not (tmp_path / "device" / "device.sqlite").exists()


def test_a_wipe_that_is_not_carried_out_leaves_the_sign_in_ended(network: FakeNetwork, signed_in: Device) -> None:
    network.sign_out_status = 403
    with pytest.raises(WipeOrdered):
        sign_out(signed_in._writer, signed_in.enrolment, 0.0)
    kept = read_kept(signed_in._writer)
    assert kept is not None
    assert kept.is_ended


class Watched(Store):
    """A store that tells when somebody asked it for the sign-in."""

    asked = threading.Event()

    def get(self, name: str) -> str | None:
        found = super().get(name)
        if name == STATE:
            self.asked.set()
        return found


def test_edits_wait_where_another_process_signed_out(network: FakeNetwork, signed_in: Device, tmp_path: Path) -> None:
    network.answers.append(([l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c2", 6)], False))
    signed_in.sync()
    signed_in.sign_out()
    signed_in.update("contact", A, fullname="After")
    asked, trouble = len(network.requests), list[SatchelError]()
    database = tmp_path / "device" / "device.sqlite"

    with sending(lambda: Watched(database, KEY), signed_in.enrolment, trouble.append):
        assert Watched.asked.wait(20)

    assert (len(network.requests), trouble) == (asked, [])
    assert signed_in.status().pending == {"waiting": 1}
