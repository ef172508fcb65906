"""Everything is upgraded, host by host, in the order of docs/how-to/upgrade.md, while devices sync and edit."""

from __future__ import annotations

from tests.lab.audit import executed
from tests.lab.build import Lab
from tests.lab.devices import Crowd
from tests.lab.host import wait_for
from tests.lab.watch import wait_until_all_up

ORDER = ("worker", "provisioning", "sync")
_EDITS = 3
"""So many edit sets must get through while versions differ."""


def upgrade(lab: Lab, crowd: Crowd) -> None:
    """From the version that runs to the newest, and the devices of one client host with it."""
    before, newest = lab.version, lab.newest
    if before is newest:
        lab.say("no older version is at hand (the repository's history is not here): the upgrade changes no code")
    lab.render(newest)
    lab.program = newest.program
    lab.administrate("run", "migrate", "--pre")
    if before is not newest:
        assert all(lab.database_version(kind) > before.highest(kind) for kind in ("control", "staging"))
    edits_get_through(lab)
    lab.say("databases were migrated: the version before goes on with them")
    for name in ORDER:
        for unit in lab.units.all(name):
            lab.put_rendered(unit.host)
            unit.restart()
            assert str(newest.program) in unit.read()["ExecStart"][0]
            wait_for(lambda unit=unit: unit.pid, f"{unit.name} to run")
            if name == "sync":
                wait_until_all_up(lab)
    start_new_units(lab)
    lab.administrate("run", "migrate")
    assert {kind: lab.database_version(kind) for kind in ("control", "staging")} == {
        kind: newest.highest(kind) for kind in ("control", "staging")
    }
    lab.version = newest
    edits_get_through(lab)
    lab.say("every service was upgraded: older devices go on with them")
    crowd.upgrade("client1")


def start_new_units(lab: Lab) -> None:
    """What only the newest version has."""
    for host in lab.topology.hosts:
        lab.put_rendered(lab.hosts[host])
        for unit in lab.units.add(lab.hosts[host]):
            unit.start()
        lab.hosts[host].run(["nft", "-f", "/etc/nftables.conf"])


def edits_get_through(lab: Lab) -> None:
    """From here on, edits of devices come to be executed at the source."""
    before = len(executed(lab.source))
    wait_for(lambda: len(executed(lab.source)) >= before + _EDITS, "edits to be executed")
