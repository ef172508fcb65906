"""A real name server: BIND 9, on a high port of loopback, as an unprivileged user, with a zone that takes updates."""

from __future__ import annotations

import base64
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import dns.exception
import dns.message
import dns.query
import dns.rrset

from tests.support.free_ports import free_port

READY_SECONDS = 30.0
_CONFIGURATION = """
options {{
    directory "{home}"; pid-file none; session-keyfile none; managed-keys-directory "{home}";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; allow-transfer {{ none; }};
}};
controls {{ }};
key "satchel-key" {{ algorithm hmac-sha256; secret "{secret}"; }};
key "admin-key" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{ type primary; file "zone"; update-policy {{
    grant admin-key zonesub any; grant satchel-key subdomain {zone}. A AAAA CNAME TXT; }}; }};
"""
_ZONE = """$TTL 60
@ IN SOA ns.{zone}. admin.{zone}. 1 3600 600 86400 60
@ IN NS ns.{zone}.
@ IN A 127.0.0.1
ns IN A 127.0.0.1
unit IN A 127.0.0.1
www IN A 192.0.2.80
taken IN TXT "somebody else's"
"""


class Bind:
    """One zone, `satchel.test`."""

    zone = "satchel.test"

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.log, self.port = folder / "named.log", free_port()
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self.key_file = folder / "dns.key"
        self.key_file.write_text(self.secret)
        self._home = Path(tempfile.mkdtemp(prefix="satchel-bind-"))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        values = {"home": self._home, "port": self.port, "secret": self.secret, "zone": self.zone}
        (self._home / "named.conf").write_text(_CONFIGURATION.format(**values))
        (self._home / "zone").write_text(_ZONE.format(zone=self.zone))
        if self._user is not None:
            for path in (self._home, *self._home.iterdir()):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave nothing."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        named = shutil.which("named") or "/usr/sbin/named"
        command = [named, "-f", "-n", "1", "-c", str(self._home / "named.conf"), "-L", str(self._home / "log")]
        options = ["--pdeathsig", "TERM"]
        if self._user is not None:
            options += [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(["setpriv", *options, "--", *command], stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            try:
                self.look(self.zone, "SOA")
            except (dns.exception.DNSException, OSError):
                time.sleep(0.05)
            else:
                return
        said = (self._home / "log").read_text() if (self._home / "log").exists() else self.log.read_text()
        raise AssertionError(f"named did not start:\n{said[-2000:]}")

    def stop(self) -> None:
        """Stop; what was updated stands in its journal."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait(20)

    def look(self, name: str, kind: str) -> list[str]:
        """What stands there, as text."""
        question = dns.message.make_query(name, kind)
        answer = dns.query.tcp(question, "127.0.0.1", port=self.port, timeout=2)
        return sorted(str(item) for rrset in answer.answer for item in rrset)

    def change(self, *lines: str) -> None:
        """Change the zone as its administrator does (nsupdate)."""
        text = "\n".join([f"server 127.0.0.1 {self.port}", f"zone {self.zone}", *lines, "send", ""])
        key = f"hmac-sha256:admin-key:{self.secret}"
        subprocess.run(["nsupdate", "-v", "-y", key], input=text, text=True, check=True, timeout=20)

    @property
    def settings(self) -> dict[str, str]:
        """Of a Satchel that keeps names here."""
        return {
            "SATCHEL_DNS__ZONE": self.zone,
            "SATCHEL_DNS__SERVER": "127.0.0.1",
            "SATCHEL_DNS__PORT": str(self.port),
            "SATCHEL_DNS__KEY_NAME": "satchel-key",
            "SATCHEL_DNS__KEY_SECRET_FILE": str(self.key_file),
            "SATCHEL_DNS__TARGET": f"unit.{self.zone}",
            "SATCHEL_DNS__CHECK_INTERVAL_SECONDS": "1",
        }
