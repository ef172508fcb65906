"""What others wrote is shown as it is, and becomes nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from satchel.console.render import _environment, moment, visible
from satchel.protocol.messages import Problem

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def shown(title: str) -> str:
    problem = Problem(title=title, status=400, code="E1")
    return _environment.get_template("error.html").render(visit=None, now=NOW, problem=problem)


@given(st.text(max_size=60))
def test_nothing_of_a_text_becomes_a_tag(text: str) -> None:
    page = shown(text)
    assert page.count("<") == shown("plain").count("<")
    assert page.count('"') - shown("plain").count('"') == 0


def test_writing_that_turns_round_is_seen() -> None:
    assert visible("a\u202eb\u200bc\x1bd\ufeff") == "a\\u202eb\\u200bc\\u001bd\\ufeff"
    assert visible("\u00e9 \u05d0 \u0627 line\nbreak\ttab") == "\u00e9 \u05d0 \u0627 line\nbreak\ttab"
    assert visible(None) == ""


def test_a_time_is_told_twice() -> None:
    assert str(moment(NOW - timedelta(hours=3), NOW)) == (
        '<time datetime="2026-11-28T09:00:00+00:00">2026-11-28 09:00:00 UTC <small>(3 hours ago)</small></time>'
    )
    assert "in 30 s" in str(moment(NOW + timedelta(seconds=30), NOW))
    assert moment(None, NOW) == "never"
