"""npm `oidc-provider` as the issuer beside the tests: `with running_issuer(folder, accounts=...) as issuer:`.

For other scripts, as a process with its own address: `python -m tests.contract.issuer.fixture '{"host": ..., ...}'`
(the keys stand in provider.mjs). The npm packages, Node among them, are installed once into `.node/issuer`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.support import npm
from tests.support.processes import free_port

PROJECT = Path(__file__).parent
TENANT = "11111111-2222-3333-4444-555555555555"
_FIELD = re.compile(r'<input[^>]*name="([^"]+)"[^>]*?value="([^"]*)"')
_ACTION = re.compile(r'<form[^>]*action="([^"]+)"')


class RunningIssuer:
    """An issuer that runs, its accounts and keys, and a browser that signs in there."""

    def __init__(self, url: str, verify: Any = True) -> None:
        self.url = url
        self._verify = verify

    def control(self, word: str, **given: Any) -> Any:
        """Change it while it runs: rotate, disable, enable, account, keys."""
        answer = httpx.post(urljoin(self.url, f"/control/{word}"), json=given, verify=self._verify)
        answer.raise_for_status()
        return answer.json()

    def service_token(self, client_id: str, secret: str, scope: str) -> str:
        """A token by client credentials."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": scope}
        answer = httpx.post(f"{self.url}/token", data=form, verify=self._verify)
        assert answer.is_success, answer.text
        return str(answer.json()["access_token"])

    def sign_in(self, url: str, account: str) -> httpx.Response:
        """Be the browser: follow the issuer's pages, fill in its forms, and come back to where it leads."""
        with self._browser() as browser:
            return self._through(browser, browser.get(url), account)

    def _through(self, browser: httpx.Client, page: httpx.Response, account: str) -> httpx.Response:
        for _ in range(6):
            if _ACTION.search(page.text) is None or not str(page.url).startswith(self.url):
                return page
            page = self._submit(browser, page, login=account, password="any")
        raise AssertionError(f"the sign-in does not end: {page.text[:2000]}")

    def _submit(self, browser: httpx.Client, page: httpx.Response, **filled: str) -> httpx.Response:
        action = _ACTION.search(page.text)
        assert action is not None, f"{page.status_code} {page.url}: {page.text[:2000]}"
        fields = {**dict(_FIELD.findall(page.text)), **filled}
        return browser.post(urljoin(str(page.url), action[1].replace("&amp;", "&")), data=fields)

    def _browser(self) -> httpx.Client:
        return httpx.Client(follow_redirects=True, timeout=20, verify=self._verify)


def install() -> Path:
    """Provider and packages in their place."""
    return npm.install(PROJECT, "issuer")


def command(options: dict[str, Any]) -> list[str]:
    """How it is started, in the folder `install()` gives."""
    return [npm.node(install()), "provider.mjs", json.dumps(options)]


@contextmanager
def running_issuer(folder: Path, port: int = 0, verify: Any = True, **options: Any) -> Iterator[RunningIssuer]:
    """Start it on this machine; `options` as in provider.mjs."""
    place = install()
    port = port or free_port()
    scheme = "https" if "cert" in options else "http"
    url = f"{scheme}://127.0.0.1:{port}/{TENANT}/v2.0"
    log_path = folder / "issuer.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command({"port": port, "issuer": url, "tenant": TENANT, "control": True, **options}),
            cwd=place, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the issuer did not start:\n{log_path.read_text()[-2000:]}"
        yield RunningIssuer(json.loads(line)["issuer"], verify)
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    os.chdir(install())
    started = command(json.loads(sys.argv[1]))
    os.execv(started[0], started)  # noqa: S606
