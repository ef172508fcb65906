"""The offline lease: reading ends with it, a sync brings it back; a clock that is set back does not make it longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from satchel.device import Clock, Device
from satchel.errors import LeaseEnded, ServerUnreachable
from satchel.protocol.lease import format_lease, parse_lease
from satchel.protocol.messages import Lease
from tests.unit.device import lines as l
from tests.unit.device.network import KEY, FakeNetwork, NothingNew

START = 1_800_000_000.0
DAY = 86_400.0
LOCK = {"seconds": int(30 * DAY), "action": "lock"}
ERASE = {"seconds": int(30 * DAY), "action": "erase"}


class Time:
    """A clock that stands where a test sets it, and one that only goes on."""

    def __init__(self) -> None:
        self.now = START
        self.ticks = 0.0
        self.clock = Clock(now=lambda: self.now, ticks=lambda: self.ticks)

    def pass_days(self, days: float) -> None:
        self.now += days * DAY
        self.ticks += days * DAY


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def device(network: FakeNetwork, folder: Path, time: Time) -> Iterator[Device]:
    with Device.enroll(network.link(), folder, key=KEY, clock=time.clock) as enrolled:
        yield enrolled


def sync(network: FakeNetwork, device: Device, lease: dict[str, Any] | None, name: str = "Anna Karenina") -> None:
    network.answers.append(([l.begin(lease=lease), l.model(), l.put(l.contact("a", name)), l.end("c1", 5)], False))
    device.sync()


def is_locked(device: Device) -> bool:
    reads = (lambda: device.sql("select 1"), lambda: device.table("contact"))
    refused = 0
    for read in reads:
        try:
            read()
        except LeaseEnded:
            refused += 1
    assert refused in {0, len(reads)}
    return refused > 0


def test_without_a_lease_reading_goes_on(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, None)
    time.pass_days(4000)
    assert not is_locked(device)
    assert device.status().lease_ends is None


def test_when_the_lease_has_ended_an_open_process_reads_no_more(
    network: FakeNetwork, device: Device, time: Time
) -> None:
    sync(network, device, LOCK)
    table = device.table("contact")
    time.pass_days(29.9)
    assert table.count() == 1
    assert not device.status().is_locked

    time.pass_days(0.2)

    for read in (table.count, table.all, table.first, lambda: table.get("a"), lambda: next(iter(table))):
        with pytest.raises(LeaseEnded, match=r"ended on 2027-02-14T08:00:00\+00:00; sync to unlock"):
            read()
    assert is_locked(device)
    status = device.status()
    assert (status.is_locked, status.lease_ends) == (True, "2027-02-14T08:00:00+00:00")
    assert [t.rows for t in status.tables] == [1, 0]


def test_every_contact_renews_it(network: FakeNetwork, device: Device, folder: Path, time: Time) -> None:
    sync(network, device, LOCK)
    with Device.open(folder, key=KEY, clock=time.clock) as other:
        time.pass_days(31)
        assert is_locked(device)
        assert is_locked(other)
        network.answers.append(NothingNew("seconds=2592000, action=lock"))
        assert device.sync().was_current
        assert not is_locked(device)
        assert not is_locked(other)  # another process that stayed open sees it as well
        time.pass_days(29)
        sync(network, device, LOCK)
        time.pass_days(29)
        assert not is_locked(other)
        network.answers.append(204)  # a server that tells none: it is as it was, and counted anew
        device.sync()
        time.pass_days(29)
        assert not is_locked(device)
        time.pass_days(2)
        assert is_locked(device)


def test_an_administrator_may_take_it_away(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, LOCK)
    network.answers.append(NothingNew("seconds=0, action=lock"))
    device.sync()
    time.pass_days(4000)
    assert not is_locked(device)


def test_an_action_of_a_later_version_locks(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, {"seconds": 60, "action": "melt", "more": 1})
    time.pass_days(1)
    assert is_locked(device)
    assert device.status().tables[0].rows == 1


def test_a_failed_sync_unlocks_nothing(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, LOCK)
    time.pass_days(31)
    network.answers += [([l.begin(lease=LOCK), l.put(l.contact("b"))], True)] * 4
    with pytest.raises(ServerUnreachable):
        device.sync()
    assert is_locked(device)


def test_setting_the_clock_back_does_not_make_it_longer(
    network: FakeNetwork, device: Device, folder: Path, time: Time
) -> None:
    sync(network, device, LOCK)
    time.pass_days(30 - 0.5 / 86_400)
    assert not is_locked(device)
    time.pass_days(1 / 86_400)
    assert is_locked(device)
    device.close()

    time.now = START
    with Device.open(folder, key=KEY, clock=time.clock) as again:
        assert is_locked(again)
        time.now = START - 4000 * DAY
        assert is_locked(again)
        network.answers.append(NothingNew("seconds=2592000, action=lock"))
        again.sync()  # from here on it is counted by that clock
        assert not is_locked(again)
        time.now += 31 * DAY
        assert is_locked(again)


def test_time_goes_on_where_the_clock_is_held_back(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, LOCK)
    assert not is_locked(device)
    time.ticks += 31 * DAY
    assert is_locked(device)
    time.ticks = 0.0  # another process: what was seen is kept
    with Device.open(device._folder.path, key=KEY, clock=time.clock) as again:
        assert is_locked(again)


def test_a_clock_that_once_was_ahead_locks_until_a_sync(network: FakeNetwork, device: Device, time: Time) -> None:
    sync(network, device, LOCK)
    time.now += 4000 * DAY
    assert is_locked(device)
    time.now = START
    assert is_locked(device)
    network.answers.append(NothingNew("seconds=2592000, action=lock"))
    device.sync()
    assert not is_locked(device)
    time.now += 29 * DAY
    assert not is_locked(device)


def test_reading_is_checked_while_another_process_syncs(
    network: FakeNetwork, device: Device, folder: Path, time: Time
) -> None:
    sync(network, device, ERASE)
    with Device.open(folder, key=KEY, clock=time.clock) as other, other._folder.lock():
        time.pass_days(31)
        other._writer.begin()  # it writes just now
        assert is_locked(device)
        other._writer.rollback()
        assert device._reader.has_model  # what it brings may renew the lease
    assert is_locked(device)
    assert not device._reader.has_model


@pytest.mark.parametrize("is_open", [True, False])
def test_erase_drops_all_data_and_the_next_sync_loads_it_again(
    is_open: bool, network: FakeNetwork, folder: Path, time: Time
) -> None:
    device = Device.enroll(network.link(), folder, is_encrypted=False, clock=time.clock)
    names = [f"Anna {number} Karenina" for number in range(3000)]
    rows = [l.contact(str(number), name) for number, name in enumerate(names)]
    network.answers.append(([l.begin(lease=ERASE), l.model(), l.put(*rows), l.end("c1", 5)], False))
    device.sync()
    if not is_open:
        device.close()
    time.pass_days(31)
    if not is_open:
        device = Device.open(folder, clock=time.clock)
    with device:
        if is_open:
            with pytest.raises(LeaseEnded, match=r"the data was erased; sync to load it again"):
                device.sql("select * from contact")
        kept = b"".join(file.read_bytes() for file in folder.iterdir())
        assert b"Karenina" not in kept
        assert b"contactid" not in kept
        assert len(kept) < 200_000
        assert (device.status().tables, device.status().is_locked) == ([], True)
        assert is_locked(device)

        sync(network, device, ERASE)

        assert network.requests[-1] == {"cursor": None, "model": None}
        assert device.table("contact").count() == 1
        time.pass_days(31)
        network.answers.append(([l.begin(lease=ERASE), l.model(), l.put(l.contact("z")), l.end("c2", 6)], False))
        device.sync()  # also where a sync comes first
        assert [row["contactid"] for row in device.table("contact").all()] == ["z"]


def test_erasing_goes_on_once_the_last_reader_is_gone(
    network: FakeNetwork, device: Device, folder: Path, time: Time
) -> None:
    sync(network, device, ERASE)
    with Device.open(folder, key=KEY, clock=time.clock) as other:
        network.answers.append(([l.begin(), l.put(*(l.contact(str(n)) for n in range(50))), l.end("c2", 6)], False))
        device.sync()
        rows = iter(other.table("contact"))
        next(rows)
        time.pass_days(31)
        assert is_locked(device)
        assert not device._reader.has_model
        assert device._lease.must_clean
        rows.close()  # type: ignore[attr-defined]
        assert is_locked(device)
        assert not device._lease.must_clean
        sync(network, device, ERASE)
        assert other.table("contact").count() == 1


@pytest.mark.parametrize("header", [None, "", "nonsense", "seconds=many, action=lock", "seconds=5", "=,=,"])
def test_a_header_that_cannot_be_read_tells_nothing(header: str | None) -> None:
    assert parse_lease(header) is None


def test_the_header_comes_back_as_it_was() -> None:
    lease = Lease(2_592_000, "erase")
    assert parse_lease(format_lease(lease)) == lease
    assert msgspec.json.decode(b'{"seconds":2592000,"action":"erase","more":1}', type=Lease) == lease
