"""What browsers send is bounded and typed; where they are sent to is ours."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Request

from satchel.console.door.enter import local
from satchel.console.forms import Form, Name, Number, read_form, read_query
from satchel.console.pages.edits import Close
from satchel.errors import RequestInvalid

ELSEWHERE = ["//evil.example", "/\\evil.example", "https://evil.example/", "/a\r\nb: c"]
MANY = "&".join(f"numbers={number}" for number in range(1001))


class Sample(Form, frozen=True, kw_only=True):
    which: Literal["a", "b"] = "a"
    text: Name = ""
    after: Number = 0
    numbers: tuple[int, ...] = ()
    is_sure: bool = False


Sent = Request[Any, Any, Any]
FORM = "application/x-www-form-urlencoded"


def request(query: str = "", body: bytes = b"", kind: str = FORM) -> Sent:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": headers}
    made: Sent = Request({**scope, "state": {}, "_ls_connection_state": None}, receive)  # type: ignore[arg-type]
    made._body = body  # type: ignore[assignment]
    return made


def test_an_address_is_read_with_its_types() -> None:
    found = read_query(request("which=b&text=a%20%C3%A9&after=7&numbers=1&numbers=2&is_sure=true"), Sample)
    assert found == Sample(which="b", text="a é", after=7, numbers=(1, 2), is_sure=True)


@pytest.mark.parametrize(
    "query",
    ["which=c", "unknown=1", "after=-1", "after=x", "after=99999999999999999999", "text=" + "x" * 201,
     "which=a&which=b", "text=%00", "text=%ff", "numbers=x", "x=" + "y" * 9000, MANY],
)  # fmt: skip
def test_what_does_not_fit_is_refused(query: str) -> None:
    with pytest.raises(RequestInvalid):
        read_query(request(query), Sample)


async def test_a_form_is_taken_as_a_form_only() -> None:
    body = urlencode({"form_key": "k", "number": 3, "reason": "by phone"}).encode()
    assert await read_form(request(body=body), Close) == Close(number=(3,), reason="by phone")
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
        with pytest.raises(RequestInvalid):
            await read_form(request(body=body, kind=kind), Close)


@given(
    st.text(max_size=50) | st.sampled_from(["//evil.example", "/\\evil.example", "https://evil.example/", "/a\r\nb: c"])
)
def test_nobody_is_sent_elsewhere(to: str) -> None:
    found = local(to)
    parts = urlsplit(f"https://console.example{found}")
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert parts.hostname == "console.example"
    assert "\n" not in found
    assert "\r" not in found


def test_a_page_of_ours_is_gone_to() -> None:
    assert local("/organizations/contoso/edits?show=open&after=3") == "/organizations/contoso/edits?show=open&after=3"
    assert local("/sign-out") == "/"
