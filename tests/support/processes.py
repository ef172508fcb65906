"""Real processes: the sandbox and a whole Satchel, each started as a person would start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support import planted
from tests.support.free_ports import free_port
from tests.support.separate import SeparateServices, is_live

READY_SECONDS = 60.0
IS_SEPARATE = os.environ.get("SATCHEL_TEST_DATABASE") == "debian"
"""Each service in a process of its own, against Debian's PostgreSQL, instead of `satchel up` with embedded engines."""
EXAMPLE_PROFILE = Path(__file__).resolve().parents[2] / "examples" / "field-service.toml"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = READY_SECONDS) -> Any:
    """Wait until a condition holds and return what it gave; fails the test, naming what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


class Process:
    """A child process that says in one JSON line when it is ready."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        planted.watch_log(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_file = log.open("ab")
        self.child = subprocess.Popen(
            [sys.executable, "-m", "satchel", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def ready(self) -> dict[str, Any]:
        """The ready line, as soon as it comes."""
        assert self.child.stdout is not None
        timer = threading.Timer(READY_SECONDS, self.kill)
        timer.start()
        try:
            line = self.child.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise AssertionError(f"it did not start:\n{self.log.read_text()[-3000:]}")
        threading.Thread(target=self._drain, daemon=True).start()
        planted.check_processes()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does; its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log_file.close()
        if self.child.stdout is not None:
            self.child.stdout.close()
        return self.child.returncode

    def kill(self) -> None:
        """kill -9."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(10)

    def _drain(self) -> None:
        stream = self.child.stdout
        try:
            while stream is not None and stream.read(65536):
                pass
        except ValueError:
            return


class Sandbox:
    """A running sample organization, and its control surface."""

    def __init__(self, process: Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.url: str = ready["url"]
        self.token_url: str = ready["token_url"]
        self.client_id: str = ready["client_id"]
        self.client_secret: str = ready["client_secret"]
        self.users: list[dict[str, str]] = ready["users"]
        root = self.token_url.split("/", 3)
        self._http = httpx.Client(base_url="/".join(root[:3]), timeout=60)

    def get(self, path: str, **parameters: Any) -> Any:
        """GET with the application's token."""
        return self._send("GET", path, params=parameters).json()

    def faults(self, **switches: Any) -> None:
        """Set fault switches."""
        self._send("PATCH", "/sandbox/faults", json=switches)

    def mutate(self, count: int, seed: int, **more: Any) -> dict[str, Any]:
        """Change rows at random (but the same ones for the same seed)."""
        answer: dict[str, Any] = self._send(
            "POST", "/sandbox/mutate", json={"count": count, "seed": seed, **more}
        ).json()
        return answer

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A Web API request: path under the service root."""
        return self._send(method, f"/api/data/v9.2/{path}", **more)

    def visible(self, user: str, entity: str, scope: str) -> set[str]:
        """Keys that the source itself says a user may have."""
        return set(self.get("/sandbox/visible", user=user, entity=entity, scope=scope))

    def rows(self, set_name: str, prefer: str = "", **parameters: str) -> list[dict[str, Any]]:
        """All rows of an entity set, as the source gives them."""
        found: list[dict[str, Any]] = []
        url: str | None = f"/api/data/v9.2/{set_name}"
        headers = {"Prefer": prefer} if prefer else {}
        while url:
            page = self._send("GET", url, params=parameters if not found else None, headers=headers).json()
            found += page["value"]
            url = page.get("@odata.nextLink")
        return found

    def close(self) -> None:
        """Stop it."""
        self._http.close()
        self.process.stop()

    def _send(self, method: str, url: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token()}", "Accept": "application/json", **more.pop("headers", {})}
        answer = self._http.request(method, url, headers=headers, **more)
        assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text[:500]}"
        return answer

    def token(self) -> str:
        """The application's token."""
        if not hasattr(self, "_cached"):
            answer = self._http.post(
                self.token_url,
                data={
                    "grant_type": "client_credentials",
                    "client_id": self.client_id,
                    "client_secret": self.client_secret,
                    "scope": f"{self.url}/.default",
                },
            )
            self._cached = str(answer.json()["access_token"])
        return self._cached


@contextmanager
def sandbox(folder: Path, rows: int, *more: str) -> Iterator[Sandbox]:
    """A sample organization of so many rows."""
    arguments = ["sandbox", "--json", "--port", "0", "--rows", str(rows), *more]
    process = Process(arguments, {"SATCHEL_SANDBOX_CLIENT_SECRET": planted.new_secret()}, folder / "sandbox.log")
    running = None
    try:
        running = Sandbox(process, process.ready())
        yield running
    finally:
        if running is not None:
            running.close()
        else:
            process.stop()


class Satchel:
    """A running Satchel with embedded engines, and its command line."""

    def __init__(self, folder: Path, settings: dict[str, str], *, is_separate: bool = IS_SEPARATE) -> None:
        self.folder = folder
        planted.watch_folder(folder)
        self.sync_port, self.management_port = free_port(), free_port()
        self.environment = {
            "SATCHEL_DATA__FOLDER": str(folder),
            "SATCHEL_SYNC__PORT": str(self.sync_port),
            "SATCHEL_MANAGEMENT__PORT": str(self.management_port),
            "SATCHEL_CONSOLE__PORT": "0",  # only tests that look at it run one
            "SATCHEL_SCHEDULE__PULL_INTERVAL_SECONDS": "1",
            "SATCHEL_SCHEDULE__FULL_READ_INTERVAL_SECONDS": "2",
            "SATCHEL_SCHEDULE__TICK_SECONDS": "0.2",
            "SATCHEL_SCHEDULE__DELETION_CHECK_INTERVAL_SECONDS": "1",
            "SATCHEL_SYNC__HEAD_REREAD_SECONDS": "1",
            "SATCHEL_SCHEDULE__SEAL_INTERVAL_SECONDS": "1",
            "SATCHEL_SNAPSHOTS__MIN_ROWS": "20",
            "SATCHEL_SOURCE__RETRY_WAIT_LIMIT_SECONDS": "2",
            **settings,
        }
        self.process: Process | None = None
        self.separate = SeparateServices(folder.parent, self.environment) if is_separate else None

    def start(self) -> dict[str, Any]:
        """Start all services and wait until devices can come."""
        if self.separate is not None:
            self.separate.start()
            self.environment |= self.separate.environment
            wait_for(lambda: is_live(self.sync_port), "the sync server")
            return {"sync_endpoint": f"https://localhost:{self.sync_port}"}
        self.process = Process(["up", "--json"], self.environment, self.folder.parent / "satchel.log")
        return self.process.ready()

    def stop(self) -> int:
        """Stop all services."""
        if self.separate is not None:
            return self.separate.stop()
        assert self.process is not None
        return self.process.stop()

    def pids(self) -> dict[str, int]:
        """Process ids by service."""
        if self.separate is not None:
            return self.separate.pids()
        text = (self.folder / "run" / "supervisor.json").read_text()
        pids: dict[str, int] = json.loads(text)["pids"]
        return pids

    @property
    def log(self) -> Path:
        """What all services print."""
        return self.folder.parent / ("services.log" if self.separate is not None else "satchel.log")

    @property
    def folders(self) -> list[Path]:
        """Where all that it keeps stands: its data, and the database's."""
        return [self.folder, *([self.separate.postgres.home] if self.separate is not None else [])]

    @contextmanager
    def untended(self) -> Iterator[None]:
        """Meanwhile nobody starts again what dies."""
        if self.separate is not None:
            self.separate.may_tend.clear()
        else:
            os.kill(self.pids()["supervisor"], signal.SIGSTOP)
        try:
            yield
        finally:
            if self.separate is not None:
                self.separate.may_tend.set()
            else:
                os.kill(self.pids()["supervisor"], signal.SIGCONT)

    def database_url(self, database: str = "postgres") -> str:
        """The server's superuser, for tests that look behind."""
        if self.separate is not None:
            url = self.separate.postgres.superuser_url
        else:
            url = str(json.loads((self.folder / "run" / "supervisor.json").read_text())["database_url"])
        return url.replace("/postgres?", f"/{database}?")

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command and return what it printed; its exit status must be `status`."""
        done = subprocess.run(
            [sys.executable, "-m", "satchel", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        planted.check_output(done.stdout + done.stderr, f"satchel {' '.join(arguments)}")
        planted.check_processes()
        assert done.returncode == status, (
            f"satchel {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout if status == 0 else done.stderr

    def json(self, *arguments: str) -> Any:
        """Run a command with --json."""
        return json.loads(self.run(*arguments, "--json"))

    def add(self, source: Sandbox, name: str = "contoso", profile: Path = EXAMPLE_PROFILE) -> None:
        """Register and provision an organization whose source is the sandbox, and wait for its first pull."""
        secret = self.folder.parent / f"{name}.secret"
        secret.write_text(source.client_secret)
        self.run(
            "org", "add", name, "--source", source.url, "--token-url", source.token_url,
            "--client-id", source.client_id, "--client-secret-file", str(secret), "--profile", str(profile),
        )  # fmt: skip
        self.run("org", "provision", name, "--wait")

    def invite(self, user: str, name: str = "contoso") -> str:
        """An enrolment link."""
        return str(self.json("org", "invite", name, user)["link"])


@contextmanager
def satchel(folder: Path, *, is_separate: bool = IS_SEPARATE, **settings: str) -> Iterator[Satchel]:
    """A running Satchel in `folder`."""
    running = Satchel(folder, settings, is_separate=is_separate)
    try:
        running.start()
        yield running
    finally:
        running.stop()
