"""The enrolment link survives being pasted, and a damaged one is refused with a reason."""

from __future__ import annotations

import pytest

from satchel.errors import InputInvalid
from satchel.protocol.enrolment import EnrolmentLink, format_link, parse_link

FINGERPRINT = "ab" * 32


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, None])
@pytest.mark.parametrize("server", ["https://sync.example.com", "https://[::1]:8443", "https://host:8443/satchel"])
def test_a_link_comes_back_as_it_was(server: str, fingerprint: str | None) -> None:
    link = format_link(server, "contoso", "AB+C/1 2&3=4", fingerprint)
    assert parse_link(f"  {link}\n") == EnrolmentLink(server, "contoso", "AB+C/1 2&3=4", fingerprint)


def test_the_code_stands_where_proxies_do_not_see_it() -> None:
    before_fragment, _, fragment = format_link("https://host", "contoso", "SECRET", None).partition("#")
    assert "SECRET" in fragment
    assert "SECRET" not in before_fragment


@pytest.mark.parametrize(
    "link",
    [
        "",
        "contoso",
        "http://host/enroll#org=contoso&code=ABC",
        "https://host/enroll",
        "https://host/enroll#org=contoso",
        "https://host/enroll#code=ABC",
        "https://host/elsewhere#org=contoso&code=ABC",
        "https:///enroll#org=contoso&code=ABC",
        "https://[broken/enroll#org=contoso&code=ABC",
        "https://host:notaport/enroll#org=contoso&code=ABC",
        "https://user:password@host/enroll#org=contoso&code=ABC",
        f"https://host/enroll#org=contoso&code=ABC&ca={FINGERPRINT[:-1]}",
        "https://host/enroll#org=contoso&code=ABC&ca=" + "zz" * 32,
        "https://host/enroll#org=../admin&code=ABC",
        "https://host/enroll#org=a%0Ab&code=ABC",
    ],
)
def test_what_is_not_a_link_is_refused(link: str) -> None:
    with pytest.raises(InputInvalid):
        parse_link(link)


def test_a_fingerprint_in_capitals_is_the_same() -> None:
    link = f"https://host/enroll#org=contoso&code=ABC&ca={FINGERPRINT.upper()}"
    assert parse_link(link).ca_fingerprint == FINGERPRINT
