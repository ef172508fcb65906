"""What happens in the lab, in order, and what must be true of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from satchel.deploy.topology import Role
from tests.lab.audit import check_copies, check_edits
from tests.lab.build import CLIENTS, ORGANIZATION, SOURCE, Lab, at_once
from tests.lab.devices import Crowd
from tests.lab.host import ROOT, wait_for
from tests.lab.network import cut, ip, mend
from tests.lab.reach import CONNECTED
from tests.lab.upgrade import upgrade
from tests.lab.watch import peers, served_serial, wait_until, wait_until_all_up

CALM_SECONDS = float(os.environ.get("SATCHEL_LAB_SECONDS", "1"))
"""How long each trouble lasts, and how long all is well after it."""
_WIRE = {"delay": "20", "jitter": "30", "loss": "2"}


def tell(lab: Lab, devices: int, only: str) -> dict[str, Any]:
    """The whole story; what it found out. `only`: a part of the troubles' names.

    Errors: AssertionError where anything does not hold.
    """
    wait_until_all_up(lab)
    lab.say("both sync servers take devices")
    check_name(lab)
    lab.say("the organization's name leads to the load balancer")
    crowd = Crowd(lab, devices)
    crowd.begin()
    lab.say(f"{len(crowd.users)} devices hold their data")
    check_addresses(lab)
    lab.say("sync servers see the devices' own addresses")
    rounds: dict[str, tuple[float, float]] = {}
    for name, act in acts(lab, crowd).items():
        if only not in name:
            continue
        began = time.time()
        act()
        time.sleep(CALM_SECONDS)  # devices sync and edit meanwhile: time is what passes here
        rounds[name] = (began, time.time())
        lab.say(name)
    reached = check_reach(lab)
    lab.say(f"{reached} connections that must not come about do not")
    stories = crowd.end()
    lab.say("all edits are settled")
    counts = check_edits(lab.source, stories, crowd.users)
    lab.say(f"nothing lost, nothing doubled: {dict(counts)}")
    check_copies(lab, stories, crowd.users)
    lab.say("every device holds exactly its scope")
    check_syncs(stories)
    report = {"edits": counts, "syncs": sync_counts(stories, rounds), "kept from": reached}
    lab.say(f"tries of each sync, by what was going on: {report['syncs']}")
    return report


def check_name(lab: Lab) -> None:
    """What the provisioning service put into DNS is what a client is told."""
    name = f"{ORGANIZATION}.{lab.topology.installation.domain}"
    ask = f"import socket; print(socket.gethostbyname({name!r}))"
    expected = lab.topology.hosts["lb1"].address

    def leads_there() -> bool:
        try:
            return lab.hosts["client1"].run([sys.executable, "-c", ask]).strip() == expected
        except AssertionError:
            return False

    wait_for(leads_there, f"{name} to lead to the load balancer")


def check_addresses(lab: Lab) -> None:
    """A connection from each client host shows up at a sync server with the client's own address."""
    hold = "import socket, sys; held = socket.create_connection((sys.argv[1], 443)); sys.stdin.read()"
    name = f"sync.{lab.topology.installation.domain}"
    held = [
        subprocess.Popen(lab.hosts[client].enter([sys.executable, "-c", hold, name]), stdin=subprocess.PIPE)
        for client in CLIENTS
    ]

    def seen() -> set[str]:
        return set().union(*(peers(lab, host) for host in lab.topology.with_role(Role.SYNC)))

    wait_for(lambda: seen() >= set(CLIENTS.values()), "sync servers to see the devices' own addresses")
    for each in held:
        each.communicate()


def check_reach(lab: Lab) -> int:
    """Every pair of hosts and ports: what has a flow connects, everything else does not. The number of the latter."""
    ports = lab.topology.ports
    listening = {Role.SYNC: (ports.sync_server, ports.management), Role.DATABASE: (ports.database,), Role.DNS: (53,),
                 Role.BALANCER: (ports.sync,), Role.IDENTITY: (ports.identity,)}  # fmt: skip
    targets = [
        f"{host.address}:{port}"
        for host in lab.topology.hosts.values()
        for role in host.roles
        for port in listening.get(role, ())
    ] + [f"{SOURCE}:443"]
    address = {name: host.address for name, host in lab.topology.hosts.items()}
    front, names = f"{address['lb1']}:{ports.sync}", f"{address['ns1']}:53"
    sync = [f"{address[name]}:{ports.sync_server}" for name in ("sync1", "sync2")]
    management = [f"{address[name]}:{ports.management}" for name in ("sync1", "sync2")]
    databases = [f"{address[name]}:{ports.database}" for name in ("db1", "db2")]
    source, issuer = f"{SOURCE}:443", f"{address['id1']}:{ports.identity}"
    expected = {
        **{name: {front, names, issuer, source} for name in CLIENTS},  # that devices reach the internet is none of ours
        "lb1": {*sync, names},
        "ns1": set(),
        "db1": {names},
        "id1": {names},
        **{name: {*databases, names, issuer} for name in ("sync1", "sync2")},
        **{name: {*databases, *management, names, issuer, source} for name in ("worker1", "worker2", "control1")},
    }

    def attempts(name: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(lab.hosts[name].run([sys.executable, "-m", "tests.lab.reach", *targets]))
        return found

    kept = 0
    for name, found in zip(expected, at_once([lambda n=n: attempts(n) for n in expected]), strict=True):
        connected = {target for target, outcome in found.items() if outcome == CONNECTED}
        own = {target for target in targets if name in address and target.startswith(f"{address[name]}:")}
        assert connected - own == expected[name] - own, f"{name}: {found}"
        kept += len(targets) - len(connected | own)
    return kept


def kill_sync_servers(lab: Lab) -> None:
    """kill -9, one after the other; each comes back before the next goes."""
    for host in lab.topology.with_role(Role.SYNC):
        unit = lab.units.get(host, "sync")
        pid = unit.pid
        unit.kill()
        # It may be back before the balancer notices.
        wait_for(lambda unit=unit, pid=pid: unit.pid not in {None, pid}, f"the sync server of {host} to come back")
        wait_until(lab, host, "UP")


def kill_workers(lab: Lab) -> None:
    """The same."""
    for host in lab.topology.with_role(Role.WORKER):
        unit = lab.units.get(host, "worker")
        pid = unit.pid
        unit.kill()
        wait_for(lambda unit=unit, pid=pid: unit.pid not in {None, pid}, f"the worker of {host} to come back")


def cut_worker_off(lab: Lab) -> None:
    """A worker and its databases no longer hear each other."""
    with cut_off("worker1", [lab.topology.hosts[name].address for name in lab.topology.with_role(Role.DATABASE)]):
        time.sleep(2 * CALM_SECONDS)


@contextmanager
def cut_off(host: str, addresses: list[str]) -> Iterator[None]:
    """A partition that ends."""
    cut(host, addresses)
    try:
        yield
    finally:
        mend(host)


def cut_sync_server_off(lab: Lab) -> None:
    """A sync server and everything else: its cable is pulled."""
    lab.network.unplug("sync2")
    wait_until(lab, "sync2", "DOWN")
    time.sleep(CALM_SECONDS)
    lab.network.plug("sync2")
    wait_until(lab, "sync2", "UP")


def lose_packets(lab: Lab) -> None:
    """The devices' network is bad: every frame late, some lost, some overtaken."""
    ip("link add far type bridge forward_delay 0", "link set far up")
    wire = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.wire", "clients", "far", *_WIRE.values()],
        stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert wire.stdout is not None
    assert wire.stdout.readline() == b"ready\n"
    lab.network.move(list(CLIENTS), "far")
    time.sleep(4 * CALM_SECONDS)
    lab.network.move(list(CLIENTS), "clients")
    wire.kill()
    wire.wait()


def restart_databases(lab: Lab) -> None:
    """One is switched off at once, the other one is stopped properly."""
    for host, number in (("db2", signal.SIGKILL), ("db1", signal.SIGINT)):
        lab.stop_database(host, number)
        lab.start_database(host)
        wait_until_all_up(lab)


def renew_certificates(lab: Lab) -> None:
    """New files on each sync server, which then begins to show them."""
    name = f"sync.{lab.topology.installation.domain}"
    before = served_serial(lab, name)
    for host in lab.topology.with_role(Role.SYNC):
        certificate, key = lab.secrets.certificate_of(host)
        lab.hosts[host].put("/etc/satchel/tls/host.key", key)
        lab.hosts[host].put("/etc/satchel/tls/host.pem", certificate)
        lab.units.get(host, "sync").restart()
        wait_until_all_up(lab)
    assert served_serial(lab, name) != before


TROUBLES: dict[str, Callable[[Lab], None]] = {
    "sync servers were killed": kill_sync_servers,
    "workers were killed": kill_workers,
    "a worker was cut off from its databases": cut_worker_off,
    "a sync server was cut off from everything": cut_sync_server_off,
    "packets were lost and delayed": lose_packets,
    "database servers were restarted": restart_databases,
    "certificates were renewed": renew_certificates,
}
UPGRADE = "everything was upgraded"


def acts(lab: Lab, crowd: Crowd) -> dict[str, Callable[[], None]]:
    """All that happens, in order: half of the devices stay on the older version through half of the troubles."""
    troubles = [(name, partial(trouble, lab)) for name, trouble in TROUBLES.items()]
    half = len(troubles) // 2
    return dict(
        [
            (UPGRADE, partial(upgrade, lab, crowd)),
            *troubles[:half],
            ("the other devices were upgraded", partial(crowd.upgrade, "client2")),
            *troubles[half:],
        ]
    )


def check_syncs(stories: list[dict[str, Any]]) -> None:
    """Whatever was broken, a sync succeeded, at the latest when it was tried once more."""
    late = [sync for story in stories for sync in story["syncs"] if sync["tries"] > 2]
    assert not late, f"{len(late)} syncs took more than one retry: {late[:3]}"


def sync_counts(stories: list[dict[str, Any]], rounds: dict[str, tuple[float, float]]) -> dict[str, dict[int, int]]:
    """How many syncs took how many tries, by the trouble in which they began."""
    found: dict[str, Counter[int]] = {name: Counter() for name in ["at rest", *rounds]}
    for story in stories:
        for sync in story["syncs"]:
            name = next((name for name, (began, ended) in rounds.items() if began <= sync["at"] < ended), "at rest")
            found[name][sync["tries"]] += 1
    return {name: dict(sorted(counter.items())) for name, counter in found.items()}
