"""Which records stand for an organization, and how they are written. Pure: no network.

`NAME.ZONE` leads to the scale unit; `_satchel.NAME.ZONE` (TXT) says that Satchel made it, and which scale unit.
A name without that is somebody else's and is never touched. Sources: RFC 1035, RFC 2136.
"""

from __future__ import annotations

import re

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.A
import dns.rrset
import msgspec

from satchel.errors import NameImpossible

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
OWNER_LABEL = "_satchel"
LEADING = ("CNAME", "A", "AAAA")
"""Types that lead to a scale unit."""


class Target(msgspec.Struct, frozen=True):
    """Where organizations of this scale unit are led: a host name, or addresses."""

    zone: str
    unit: str
    host: str
    addresses: list[str]
    ttl_seconds: int


def is_label(name: str) -> bool:
    """It can be an organization's name. Source: RFC 1035, section 2.3.1; a digit may begin it (RFC 1123, 2.1)."""
    return _LABEL.fullmatch(name) is not None


def organization_name(organization: str, zone: str) -> dns.name.Name:
    """`NAME.ZONE`. Errors: NameImpossible - one label of letters, digits and hyphens, 63 octets; 255 together."""
    if not is_label(organization):
        raise NameImpossible(f"{organization[:80]!r} cannot be a name in DNS.")
    try:
        name = dns.name.from_text(organization, zone_name(zone))
        owner_name(name)
    except dns.exception.DNSException as error:
        raise NameImpossible(f"{organization[:80]!r} is too long below {zone}.") from error
    return name


def owner_name(name: dns.name.Name) -> dns.name.Name:
    """Where it stands who made a name."""
    return dns.name.from_text(OWNER_LABEL, name)


def zone_name(zone: str) -> dns.name.Name:
    """The zone. Errors: NameImpossible."""
    try:
        return dns.name.from_text(zone)
    except dns.exception.DNSException as error:
        raise NameImpossible(f"{zone[:80]!r} is no zone.") from error


def owner_text(target: Target) -> str:
    """What the ownership record says."""
    return f"v=satchel1 unit={target.unit}"


def records(organization: str, target: Target) -> list[dns.rrset.RRset]:
    """All records of an organization. Errors: NameImpossible, also where there is nowhere to lead to."""
    name = organization_name(organization, target.zone)
    ttl = target.ttl_seconds
    found = [dns.rrset.from_text(owner_name(name), ttl, "IN", "TXT", f'"{owner_text(target)}"')]
    try:
        if target.host:
            found.append(dns.rrset.from_text(name, ttl, "IN", "CNAME", dns.name.from_text(target.host).to_text()))
            return found
        for kind, is_v6 in (("A", False), ("AAAA", True)):
            addresses = sorted(address for address in target.addresses if (":" in address) == is_v6)
            if addresses:
                found.append(dns.rrset.from_text(name, ttl, "IN", kind, *addresses))
    except (dns.exception.DNSException, ValueError) as error:
        raise NameImpossible("[dns] target or addresses cannot be written into DNS.") from error
    if len(found) == 1:
        raise NameImpossible("There is nowhere to lead to.", hint="Set [dns] target, or [dns] addresses.")
    return found


def zone_file(organizations: list[str], target: Target) -> str:
    """The records of all organizations, for who keeps the zone by hand. Source: RFC 1035, section 5."""
    lines = [f"; {target.zone}: organizations of scale unit {target.unit}", f"$ORIGIN {zone_name(target.zone)}"]
    lines += [str(record) for name in sorted(organizations) for record in records(name, target)]
    return "\n".join([*lines, ""])
