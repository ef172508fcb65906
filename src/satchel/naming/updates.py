"""Brings one name of the zone to what is wanted, by one update that the server carries out as a whole or not at all.

Its prerequisites are checked by the server itself, so that nobody's record is overwritten between a look and a change.
Source: RFC 2136; RFC 8945 (TSIG).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update
import msgspec

from satchel.errors import NameForeign, NameServerBusy
from satchel.naming.records import LEADING, Target, organization_name, owner_name, owner_text, records, zone_name

TIMEOUT_SECONDS = 5.0
_SIGNATURES = ("RRSIG", "NSEC", "NSEC3", "DNSKEY")
_ALGORITHMS = {
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}


class NameServer(msgspec.Struct, frozen=True):
    """The primary server of the zone, and the key that may change it."""

    host: str
    port: int
    key_name: str
    key_algorithm: str
    key_secret: str

    def __repr__(self) -> str:
        return f"NameServer({self.host}:{self.port})"


class Zone:
    """The organizations' names at one name server."""

    def __init__(self, server: NameServer, target: Target) -> None:
        """Nothing is asked yet."""
        self._server = server
        self.target = target

    async def publish(self, organization: str) -> bool:
        """Make the name lead here; False where it did already. Errors: NameForeign, NameImpossible, NameServerBusy."""
        wanted = records(organization, self.target)
        name = organization_name(organization, self.target.zone)
        if await self.is_current(organization):
            return False
        owner = await self._ask(owner_name(name), "TXT")
        if owner is None:
            update = self._update()
            update.absent(name)  # nobody uses the name, whatever for
            update.absent(owner_name(name))
        else:
            await self._require_room(name, wanted)
            update = self._update_of_ours(organization)
            _delete_leading(update, name)
        for record in wanted:
            update.replace(record.name, record)
        await self._send(update, organization)
        return True

    async def remove(self, organization: str) -> bool:
        """Take the name away; False where it is gone or was never ours. Errors: NameServerBusy."""
        name = organization_name(organization, self.target.zone)
        if await self._owner(name) != owner_text(self.target):
            return False
        update = self._update_of_ours(organization)
        _delete_leading(update, name)
        update.delete(owner_name(name), "TXT")
        await self._send(update, organization)
        return True

    async def is_current(self, organization: str) -> bool:
        """All that is wanted stands there, and nothing else that leads elsewhere. Errors: NameServerBusy."""
        wanted = {(record.name, record.rdtype): record for record in records(organization, self.target)}
        name = organization_name(organization, self.target.zone)
        for owner, kind in ((owner_name(name), "TXT"), *((name, kind) for kind in LEADING)):
            found = await self._ask(owner, kind)
            expected = wanted.get((owner, dns.rdatatype.from_text(kind)))
            if found != expected or (found and expected and found.ttl != expected.ttl):
                return False
        return True

    async def _require_room(self, name: dns.name.Name, wanted: Sequence[dns.rrset.RRset]) -> None:
        """Where others put records beside ours, a CNAME would be ignored. Source: RFC 2136, section 3.4.2.2."""
        if not any(record.rdtype == dns.rdatatype.CNAME for record in wanted):
            return
        answer = await self._exchange(dns.message.make_query(name, "ANY"))
        kinds = {dns.rdatatype.to_text(found.rdtype) for found in answer.answer if found.name == name}
        if others := ", ".join(sorted(kinds - {*LEADING, *_SIGNATURES})):
            raise NameForeign(
                f"{name.to_text(omit_final_dot=True)} has records of others ({others}): no alias can stand there.",
                hint="Take them away, or give [dns] addresses instead of a target.",
            )

    async def _owner(self, name: dns.name.Name) -> str | None:
        found = await self._ask(owner_name(name), "TXT")
        return "".join(part.decode("ascii", "replace") for part in found[0].strings) if found else None

    def _update(self) -> dns.update.UpdateMessage:
        server = self._server
        ring = dns.tsigkeyring.from_text({server.key_name: server.key_secret}) if server.key_name else None
        return dns.update.UpdateMessage(
            zone_name(self.target.zone),
            keyring=ring,
            keyname=dns.name.from_text(server.key_name) if ring else None,
            keyalgorithm=_ALGORITHMS.get(server.key_algorithm, dns.tsig.HMAC_SHA256),
        )

    def _update_of_ours(self, organization: str) -> dns.update.UpdateMessage:
        """Only where this scale unit made the name."""
        update = self._update()
        owner = owner_name(organization_name(organization, self.target.zone))
        update.present(owner, "TXT", f'"{owner_text(self.target)}"')
        return update

    async def _send(self, update: dns.update.UpdateMessage, organization: str) -> None:
        answer = await self._exchange(update)
        code = answer.rcode()
        if code in {dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN}:
            raise NameForeign(f"{organization}.{self.target.zone} is not this scale unit's; it was not touched.")
        if code != dns.rcode.NOERROR:
            raise NameServerBusy(f"The name server refuses the change: {dns.rcode.to_text(code)}.")

    async def _ask(self, name: dns.name.Name, kind: str) -> dns.rrset.RRset | None:
        question = dns.message.make_query(name, kind)
        question.flags &= ~dns.flags.RD
        answer = await self._exchange(question)
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            raise NameServerBusy(f"The name server does not tell: {dns.rcode.to_text(answer.rcode())}.")
        return answer.get_rrset(answer.answer, name, dns.rdataclass.IN, dns.rdatatype.from_text(kind))

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """Over TCP: an answer of any length, and no answer of somebody in between. Errors: NameServerBusy."""
        try:
            addresses = await _addresses(self._server.host, self._server.port)
            return await dns.asyncquery.tcp(message, addresses[0], timeout=TIMEOUT_SECONDS, port=self._server.port)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise NameServerBusy(f"The name server does not answer: {type(error).__name__}.") from error


def _delete_leading(update: dns.update.UpdateMessage, name: dns.name.Name) -> None:
    """What leads to a scale unit; what others keep at the name, such as MX, stays."""
    for kind in LEADING:
        update.delete(name, kind)


async def _addresses(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
