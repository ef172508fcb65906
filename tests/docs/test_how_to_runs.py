"""The how-to pages, carried out: their commands run as they stand there, against one Satchel that was set up by them.

Only names, addresses and paths of the pages are replaced by those of this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from satchel.device import Device, SetState
from satchel.identity.certificates import ensure_server_certificate
from tests.support import planted
from tests.support.pages import HOW_TO, ROOT, Done, Line, lines_of, run_line
from tests.support.processes import EXAMPLE_PROFILE, Sandbox, Satchel, sandbox, wait_for

ONE_SERVER = ROOT / "docs/how-to/run-on-one-server.md"
ELSEWHERE = {
    "SATCHEL_DATABASE__URL=postgresql://satchel_admin:...@db.example.com/postgres satchel up":
        ("tests/journey/test_keys.py", "SATCHEL_DATABASE__URL=postgres.url"),
    "satchel org provision contoso --server south": ("tests/lab/build.py", '"--server", "db2"'),
    "satchel org move contoso north --wait": ("tests/law/test_moves.py", '"org", "move", "contoso"'),
    "satchel org move contoso --abort": ("tests/docs/test_how_to_runs.py", "org move contoso --abort"),
    "satchel dns check": ("tests/journey/test_names.py", '"dns", "check"'),
    "satchel dns export": ("tests/journey/test_names.py", '"dns", "export"'),
    "satchel org invite contoso --sign-in": ("tests/journey/sign_in/conftest.py", '"--sign-in"'),
    "satchel org tenants contoso TENANT": ("tests/journey/sign_in/conftest.py", '"org", "tenants", "contoso", TENANT'),
    "satchel device sign-in 'https://satchel.contoso.com/sign-in#org=contoso'":
        ("tests/journey/sign_in/test_browser.py", 'Command(tmp_path, link, "--no-browser")'),
    "satchel device sign-in satchel.contoso.com --org contoso --device-code":
        ("tests/journey/sign_in/test_browser.py", '"--device-code"'),
    "satchel console open": ("tests/journey/console/test_console.py", '"console", "open"'),
    "satchel logs --service console --text administrator --since 2d":
        ("tests/journey/console/test_console.py", '"logs", "--service", "console", "--text", "administrator"'),
    "satchel device sync": ("tests/journey/test_stuck_edits.py", 'run("sync"'),
}  # fmt: skip
"""Lines that need an issuer, a name server or several hosts: where they are run."""
OF_OTHER_PROGRAMS = {
    "rsync -a rendered/hosts/sync1/ root@sync1:/": "the lab lays the same folder over each host's root",
    "ssh root@sync1 'systemctl daemon-reload && systemctl enable --now nftables satchel-sync satchel-front'":
        "the lab starts these very units",
    "systemctl restart satchel-sync": "the lab restarts this unit, with a renewed certificate",
    "kubectl create namespace satchel": "no cluster here: the manifests are validated against the published schemas",
    "kubectl -n satchel create secret generic satchel-secrets --from-file=master.key --from-file=pgpass"
    " --from-file=tsig.secret": "the manifests name these secrets and keys",
    "kubectl -n satchel create secret tls satchel-tls --cert=host.pem --key=host.key": "the same",
    "kubectl apply -f rendered/kubernetes/": "as above",
}  # fmt: skip


class Machine:
    """The one server, and who sits at its terminal."""

    def __init__(self, folder: Path, source: Sandbox) -> None:
        self.folder = folder
        self.source = source
        self.satchel = Satchel(folder / "data", {}, is_separate=False)
        self.ran: set[str] = set()
        self._words = {
            "https://contoso.crm.dynamics.com": source.url,
            "--tenant": "--token-url",  # the sample organization has a token endpoint of its own
            "USER_ID": source.users[1]["id"],
            "/var/backups/satchel": str(folder / "backups"),
        }

    def carry_out(self, page: Path, replaced: Mapping[str, str] | None = None, typed: str = "") -> dict[str, Done]:
        """Run the page's lines in their order; each must end well."""
        done = {}
        for line in lines_of(page):
            if line.line not in ELSEWHERE and line.line not in OF_OTHER_PROGRAMS and line.line not in self.ran:
                done[line.line] = self.run(line, replaced or {}, typed)
        return done

    def run(self, line: Line, replaced: Mapping[str, str], typed: str = "", status: int = 0) -> Done:
        """Run one line, with what this machine has in place of the page's names."""
        text = line.line
        for word, here in (self._words | dict(replaced)).items():
            text = text.replace(word, here)
        for name in ("token_url", "client_id"):
            text = text.replace(" ... ", f" {getattr(self.source, name)} ", 1)
        done = run_line(Line(line.page, text).words, self.satchel.environment, self.folder, typed)
        planted.check_output(done.said, text)
        assert "Traceback" not in done.said, done.said
        assert done.status == status, f"{text}: {done.status}\n{done.said}"
        self.ran.add(line.line)
        return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 1000) as running:
        yield running


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Machine]:
    """Set up by the page on one server: its settings, `satchel up`, its commands."""
    folder = tmp_path_factory.mktemp("server")
    machine = Machine(folder, source)
    certificate = ensure_server_certificate(folder / "tls", ["localhost"])
    settings = re.findall(r"```toml\n(.*?)```", ONE_SERVER.read_text(), re.DOTALL)[0]
    for word, here in {
        "https://satchel.example.com:8443": f"https://localhost:{machine.satchel.sync_port}",
        "/etc/satchel/tls/chain.pem": str(certificate.cert_file),
        "/etc/satchel/tls/key.pem": str(certificate.key_file),
    }.items():
        assert word in settings
        settings = settings.replace(word, here)
    machine.satchel.folder.mkdir()
    (machine.satchel.folder / "satchel.toml").write_text(settings)
    (folder / "secret.txt").write_text(source.client_secret)
    (folder / "profile.toml").write_text(EXAMPLE_PROFILE.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate.ca_file))  # its authority is among the system's
        machine.satchel.start()
        machine.ran.add("satchel up")
        yield machine
        machine.satchel.stop()


@pytest.fixture(scope="module")
def device(machine: Machine) -> Iterator[Device]:
    """Enrolled with the link that the page's last step printed."""
    said = machine.carry_out(ONE_SERVER)["satchel org invite contoso USER_ID"].said
    found = re.search(r"https://\S+", said.replace("\n", ""))
    assert found, said
    with Device.enroll(found[0], machine.folder / "device", is_encrypted=False) as enrolled:
        enrolled.sync()
        yield enrolled


def test_one_server(device: Device) -> None:
    assert device.table("contact").count() > 0


def test_diagnose(machine: Machine, device: Device) -> None:
    def a_request() -> str | None:
        done = run_line(["satchel", "logs", "--limit", "50", "--json"], machine.satchel.environment, machine.folder)
        traces = [json.loads(line).get("trace") for line in done.said.splitlines() if line.startswith("{")]
        return next((each for each in traces if each), None)

    request = wait_for(a_request, "a log of a request")
    replaced = {"0192f0c0-0000-7000-8000-000000000000": device.enrolment.device_id,
                "0192f0c0d0e0f0a0b0c0d0e0f0a0b0c0": request}  # fmt: skip
    done = machine.carry_out(ROOT / "docs/how-to/diagnose.md", replaced)
    assert "ms" in done["satchel trace 0192f0c0d0e0f0a0b0c0d0e0f0a0b0c0"].said


def test_diagnose_while_nothing_is_up(tmp_path: Path) -> None:
    nowhere = {"SATCHEL_DATA__FOLDER": str(tmp_path)}
    for line in lines_of(ROOT / "docs/how-to/diagnose.md")[1:]:
        done = run_line(line.words, nowhere, tmp_path)
        assert done.status == (1 if line.words[1] == "doctor" else 0), done.said
        assert "Traceback" not in done.said
        assert line.words[1] != "doctor" or "satchel up" in done.said


def test_look_after_edits(machine: Machine, device: Device, source: Sandbox) -> None:
    contact = device.table("contact").where("ownerid", "=", device.enrolment.user_id).limit(1).all()[0]["contactid"]
    device.update("contact", contact, jobtitle="mine")
    source.send("PATCH", f"contacts({contact})", json={"jobtitle": "theirs"})
    wait_for(lambda: device.sync(wait_seconds=2) and device.pending()[0].state is SetState.CONFLICT, "the conflict")
    number = str(machine.satchel.json("edits", "list", "contoso", "--show", "stuck")[0]["number"])

    done = machine.carry_out(ROOT / "docs/how-to/look-after-edits.md", {" 17": f" {number}"}, typed="y\n")

    assert "theirs" in done["satchel edits show contoso 17"].said
    assert "1 closed" in done['satchel edits close contoso 17 --reason "entered by phone"'].said
    wait_for(lambda: device.sync(wait_seconds=2) and device.pending()[0].state is SetState.REJECTED, "it to come home")


def test_rotate_keys(machine: Machine, device: Device) -> None:
    done = machine.carry_out(ROOT / "docs/how-to/rotate-keys.md")
    assert "contoso" in done["satchel key list"].said
    device.sync()


def test_back_up_and_upgrade(machine: Machine, device: Device) -> None:
    page = ROOT / "docs/how-to/back-up.md"
    restore = next(line for line in lines_of(page) if line.words[1:3] == ["backup", "restore"])
    machine.run(Line(restore.page, "satchel run migrate --pre"), {})
    machine.carry_out(ROOT / "docs/how-to/upgrade.md")
    done = machine.run(lines_of(page)[0], {})
    assert "1 organizations" in machine.run(lines_of(page)[1], {}).said, done.said
    assert "there already" in machine.run(restore, {}, status=2).said
    fresh = Machine(machine.folder / "new", machine.source)
    fresh.satchel.folder.joinpath("secrets").mkdir(parents=True)
    key = machine.satchel.folder / "secrets" / "master.key"
    (fresh.satchel.folder / "secrets" / "master.key").write_bytes(key.read_bytes())
    assert "Restored: 1" in fresh.run(restore, {"/var/backups/satchel": str(machine.folder / "backups")}).said
    machine.carry_out(page)
    device.sync()


def test_several_servers(machine: Machine, device: Device) -> None:
    page = ROOT / "docs/how-to/run-on-five.md"
    assert "default" in machine.carry_out(page)["satchel server list"].said
    [abort] = [line for line in lines_of(page) if line.line == "satchel org move contoso --abort"]
    assert "[E" in machine.run(abort, {}, status=2).said  # there is no move to break off


def test_deploy_from_a_topology(machine: Machine) -> None:
    page = ROOT / "docs/how-to/deploy-from-a-topology.md"
    out = machine.folder / "rendered"
    machine.carry_out(page, {"examples/": f"{ROOT}/examples/", "rendered": str(out)})
    units = {path.name for path in out.glob("hosts/sync1/etc/systemd/system/*")}
    assert {"satchel-sync.service", "satchel-front.service"} <= units
    assert (out / "hosts/sync1/etc/nftables.conf").exists()
    manifests = "\n".join(path.read_text() for path in out.glob("kubernetes/*"))
    for word in ("satchel-secrets", "satchel-tls", "master.key", "pgpass", "tsig.secret"):
        assert word in manifests


def test_nothing_on_the_pages_is_run_nowhere() -> None:
    pages = {each.name for each in HOW_TO}
    carried_out = {"run-on-one-server.md", "diagnose.md", "look-after-edits.md", "rotate-keys.md", "back-up.md",
                   "upgrade.md", "run-on-five.md", "deploy-from-a-topology.md"}  # fmt: skip
    left = [line.line for page in HOW_TO if page.name in pages - carried_out for line in lines_of(page)]
    assert [line for line in left if line not in ELSEWHERE] == []
    standing = {line.line for page in HOW_TO for line in lines_of(page)}
    assert set(ELSEWHERE) | set(OF_OTHER_PROGRAMS) <= standing
    for line, (file, words) in ELSEWHERE.items():
        assert words in (ROOT / file).read_text(), f"{line} is not run by {file}"
