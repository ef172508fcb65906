"""From the topology file to a running installation: rendered, put on hosts, started; all hosts at the same time."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from satchel.deploy.parse import parse
from satchel.deploy.topology import Role
from tests.contract.issuer.fixture import TENANT
from tests.lab.host import ROOT, Host, environment_of, wait_for
from tests.lab.network import Network
from tests.lab.older import Version, unpack, version
from tests.lab.secrets import Secrets
from tests.lab.units import DYNAMIC_USER, Units
from tests.support.debian_postgres import binaries
from tests.support.processes import EXAMPLE_PROFILE, Sandbox

EXAMPLE = "examples/topology.toml"
ORGANIZATION = "contoso"
CLIENTS = {"client1": "203.0.113.11", "client2": "203.0.113.12"}
SOURCE = "198.51.100.10"
SOURCE_ROWS = 1500
_SETTINGS = """
[balancer]
max_connections = 2000
slow_start_seconds = 2
[settings.schedule]
pull_interval_seconds = 1
full_read_interval_seconds = 2
tick_seconds = 0.2
deletion_check_interval_seconds = 1
[settings.sync]
head_reread_seconds = 1
drain_notice_seconds = 1.5
drain_seconds = 2
[settings.sign_in]
scopes = "openid offline_access access"
[settings.source]
retry_wait_limit_seconds = 2
"""
_DATA = "/var/lib/postgresql/data"
T = TypeVar("T")


def lab_topology(version: Version, objects: Path) -> str:
    """The example's text: what runs is that version, and it does not wait as long as in real life.

    Its object storage is a folder that all hosts have, of the one user that services are here."""
    text, storage = (version.tree / EXAMPLE).read_text(), '[objects]\nurl = "s3://satchel/objects"\n'
    text = text.replace(storage, "").replace("[installation]\n", f'[installation]\nprogram = "{version.program}"\n')
    return f'{text}{_SETTINGS}[settings.storage]\nurl = "file://{objects}"\n'


class Lab:
    """Everything that stands and runs."""

    def __init__(self, folder: Path, say: Callable[[str], None], *, begins_older: bool) -> None:
        """`folder` is empty, and in memory. `begins_older`: an older version runs first, where it is at hand."""
        self.folder, self.say = folder, say
        self.newest = version(ROOT, folder, "newest")
        older = unpack(folder / "older-tree") if begins_older else None
        self.version = self.newest if older is None else version(older, folder, "older")
        self.program = self.version.program
        """The administrator's `satchel`."""
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.render(self.version)
        self.topology = parse(lab_topology(self.newest, folder / "objects"))
        self.network = Network(self.topology)
        self.secrets = Secrets(self.topology)
        self.units = Units(self.logs)
        self.hosts: dict[str, Host] = {}
        self.databases: dict[str, subprocess.Popen[bytes]] = {}
        self._source: Sandbox | None = None

    @property
    def source(self) -> Sandbox:
        """The organization's source, which runs since `build`."""
        assert self._source is not None
        return self._source

    def render(self, version: Version) -> None:
        """Run `satchel deploy render` of a version, as an administrator does."""
        file = self.folder / "topology.toml"
        objects = self.folder / "objects"
        objects.mkdir(exist_ok=True)
        os.chown(objects, DYNAMIC_USER, DYNAMIC_USER)
        file.write_text(lab_topology(version, objects))
        command = [version.program, "deploy", "render", str(file), "--out", str(version.rendered)]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment_of())

    def put_rendered(self, host: Host) -> None:
        """Copy what the newest version rendered for a host, as `rsync` does."""
        root = self.newest.rendered / "hosts" / host.name
        for file in root.rglob("*"):
            path = f"/{file.relative_to(root)}"
            if file.is_file() and not (host.path(path).exists() and host.path(path).read_bytes() == file.read_bytes()):
                host.put(path, file.read_bytes())

    def build(self) -> None:
        """All hosts, all services; returns when a device could sync."""
        outside = {**{name: ("clients", address) for name, address in CLIENTS.items()}, "source": ("sources", SOURCE)}
        inside = {name: (host.subnet, host.address) for name, host in self.topology.hosts.items()}
        self.network.make({**inside, **outside})
        authorities = self.folder / "authorities.pem"
        authorities.write_bytes(self.secrets.authority.authorities)
        os.environ["SSL_CERT_FILE"] = str(authorities)
        self._make_hosts()
        self.say("hosts and firewalls stand")
        first = [self._start_outside, self.units.get("ns1", "dns").start]
        first += [lambda name=name: self._make_database(name) for name in self.topology.with_role(Role.DATABASE)]
        at_once(first)
        self.units.get("control1", "provisioning").start()  # brings the databases to this version first
        self.say("databases, name server and source are up")
        at_once([unit.start for unit in self.units.all() if unit.pid is None])
        self.units.tend()
        self._register()

    def close(self) -> None:
        """End what would write once more; the kernel does the rest."""
        self.units.close()
        for server in self.databases.values():
            server.kill()

    def administrate(self, *arguments: str) -> str:
        """A command of the administrator's, on the provisioning host."""
        unit = self.units.get("control1", "provisioning")
        return unit.host.run([self.program, *arguments, "--config", "/etc/satchel/satchel.toml"], unit.environment())

    def database_version(self, kind: str) -> int:
        """The number of the last migration that the control database, or the organization's, has seen."""
        if kind == "control":
            return int(self._ask("db1", "satchel", "select number from satchel.version"))
        name = self._ask("db2", "postgres", f"select datname from pg_database where datname like '%{ORGANIZATION}%'")
        return int(self._ask("db2", name, "select number from satchel.version"))

    def _ask(self, host: str, database: str, statement: str) -> str:
        return self.hosts[host].run(_as_postgres(["psql", "-h", "/run", "-Atc", statement, database])).strip()

    def start_database(self, name: str) -> None:
        """Debian's PostgreSQL, as its own user."""
        host = self.hosts[name]
        with (self.logs / f"{name}.postgres.log").open("ab") as log:
            self.databases[name] = subprocess.Popen(
                host.enter(_as_postgres([str(binaries() / "postgres"), "-D", _DATA, "-k", "/run"])),
                stdout=log, stderr=log, env=environment_of(), start_new_session=True,
            )  # fmt: skip

        def answers() -> bool:
            ready = subprocess.run(
                host.enter(_as_postgres(["psql", "-h", "/run", "-c", "select 1", "postgres"])),
                capture_output=True, check=False,
            )  # fmt: skip
            return ready.returncode == 0

        wait_for(answers, f"{name} to answer")

    def stop_database(self, name: str, number: int = signal.SIGINT) -> None:
        """SIGINT: as `systemctl stop`; SIGKILL: as a power cut."""
        server = self.databases[name]
        os.kill(server.pid, number)
        server.wait(30)

    def _make_hosts(self) -> None:
        for name in self.topology.hosts:
            host = Host(name, self.version.rendered / "hosts" / name)
            self.hosts[name] = host
        for name in (*CLIENTS, "source"):
            self.hosts[name] = Host(name, self.folder / name)
            (self.folder / name / "etc").mkdir(parents=True)
        resolv = (self.version.rendered / "hosts/lb1/etc/resolv.conf").read_text()
        for name in CLIENTS:
            (self.folder / name / "etc/resolv.conf").write_text(resolv)
        trust = {"ssl/certs/ca-certificates.crt": self.secrets.authority.authorities}
        starts = [
            lambda host=host: host.start(self.secrets.of_host(host.name) if host.name in self.topology.hosts else trust)
            for host in self.hosts.values()
        ]
        at_once(starts)
        for name in self.topology.hosts:
            self.units.add(self.hosts[name])

    def _make_database(self, name: str) -> None:
        host, user = self.hosts[name], pwd.getpwnam("postgres")
        home = host.path("/var/lib/postgresql")
        home.mkdir()
        for path in (home, host.path("/run"), host.path("/etc/satchel/tls/host.key")):
            os.chown(path, user.pw_uid, user.pw_gid)
        host.path("/etc/satchel/tls/host.key").chmod(0o600)
        initdb = [str(binaries() / "initdb"), "-D", _DATA, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        host.run(_as_postgres(initdb))
        with host.path(f"{_DATA}/postgresql.conf").open("a") as file:
            file.write("include '/etc/satchel/postgresql/satchel.conf'\n")
        self.start_database(name)
        role = f"create role satchel login createdb createrole password '{self.secrets.database_password}'"
        host.run(
            _as_postgres(["psql", "-h", "/run", "-qc", role, "-c", "grant pg_signal_backend to satchel", "postgres"])
        )

    def _start_outside(self) -> None:
        """What Satchel needs and is not of it: the source, then the identity provider with its users."""
        self._start_source()
        accounts = {
            user["id"]: {"oid": user["azureactivedirectoryobjectid"], "tid": TENANT, "name": user["name"]}
            for user in self.source.users
        }
        options = {
            "host": self.topology.hosts["id1"].address, "port": 443, "issuer": self.topology.identity.issuer,
            "cert": "/etc/satchel/tls/host.pem", "key": "/etc/satchel/tls/host.key", "accounts": accounts,
            "deviceClient": self.topology.identity.client_id, "audience": self.topology.identity.audience,
        }  # fmt: skip
        with (self.logs / "issuer.log").open("ab") as log:
            child = subprocess.Popen(
                self.hosts["id1"].python("tests.contract.issuer.fixture", json.dumps(options)),
                stdout=subprocess.PIPE, stderr=log, env=environment_of(), cwd=ROOT,
            )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline(), (self.logs / "issuer.log").read_text()

    def _start_source(self) -> None:
        certificate, key = self.secrets.authority.certificate([SOURCE])
        host = self.hosts["source"]
        host.put("/etc/source.pem", certificate)
        host.put("/etc/source.key", key)
        command = host.python(
            "satchel", "sandbox", "--json", "--host", SOURCE, "--port", "443", "--rows", str(SOURCE_ROWS),
            "--tls-cert", "/etc/source.pem", "--tls-key", "/etc/source.key",
        )  # fmt: skip
        with (self.logs / "source.log").open("ab") as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment_of(), cwd=ROOT)
        assert child.stdout is not None
        self._source = Sandbox(_Running(child), json.loads(child.stdout.readline()))  # type: ignore[arg-type]

    def _register(self) -> None:
        """The organization, as an administrator registers it; its name leads to the balancer."""
        control = self.hosts["control1"]
        control.put("/etc/contoso.secret", self.source.client_secret.encode())
        shutil.copy(EXAMPLE_PROFILE, control.path("/etc/contoso.toml"))
        self._wait_for_tables()
        self.administrate(
            "org", "add", ORGANIZATION, "--source", self.source.url, "--token-url", self.source.token_url,
            "--client-id", self.source.client_id, "--client-secret-file", "/etc/contoso.secret",
            "--profile", "/etc/contoso.toml",
        )  # fmt: skip
        self.administrate("org", "provision", ORGANIZATION, "--server", "db2", "--wait")
        self.say("the organization is provisioned")

    def _wait_for_tables(self) -> None:
        wait_for(lambda: self.units.get("control1", "provisioning").pid, "the databases to be of this version")


class _Running:
    """A process that the sandbox's counterpart in the tests can stop."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child

    def stop(self) -> None:
        self.child.kill()


def at_once(acts: Iterable[Callable[[], T]]) -> list[T]:
    """All of them at the same time; the first error is raised."""
    acts = list(acts)
    with ThreadPoolExecutor(max_workers=len(acts)) as threads:
        return [each.result() for each in [threads.submit(act) for act in acts]]


def _as_postgres(command: list[str]) -> list[str]:
    user: Any = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--", *command]
