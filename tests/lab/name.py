"""Runs on the provisioning host: an organization's name leads to the balancer, by an update with the zone's key.

`python -m tests.lab.name ORGANIZATION DOMAIN SERVER ADDRESS`
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

KEY = Path("/etc/satchel/secrets/tsig.key")


def main(organization: str, domain: str, server: str, address: str) -> None:
    """Errors: AssertionError where the name server refuses."""
    found = re.search(r'key "(.*?)".*secret "(.*?)"', KEY.read_text())
    assert found is not None
    update = dns.update.UpdateMessage(domain, keyring=dns.tsigkeyring.from_text({found[1]: found[2]}))
    update.replace(organization, 60, "A", address)
    answer = dns.query.tcp(update, server, timeout=5)
    assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())


if __name__ == "__main__":
    main(*sys.argv[1:])
