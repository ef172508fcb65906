"""What goes wrong between server and device: each answer is a clear error, a resumed sync, or both."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from satchel.device.apply import Applied, Applier
from satchel.device.download import (
    LONGEST_PAUSE_SECONDS,
    MAX_IDLE_ANSWERS,
    TRIES,
    Download,
    SyncReport,
    forget_position,
)
from satchel.device.endpoint import error_of
from satchel.device.store import Store
from satchel.errors import (
    CopyDiverged,
    CursorInvalid,
    DataFolderUnusable,
    DeviceKeyWrong,
    OrganizationUnknown,
    ProtocolBroken,
    RequestInvalid,
    SatchelError,
    ServerUnreachable,
    SourceBusy,
    TokenInvalid,
)
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import AttributeType as T
from satchel.protocol.messages import Problem, SyncRequest
from tests.unit.device import lines as l


class Answers:
    """Stands for the endpoint: each request takes the next answer - lines, an error, or None for nothing new."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.cursors: list[str | None] = []
        self.models: list[str | None] = []
        self.follows: list[bool] = []

    @contextmanager
    def sync(self, request: SyncRequest, _wait: float, *, is_following: bool) -> Iterator[httpx.Response]:
        self.cursors.append(request.cursor)
        self.models.append(request.model)
        self.follows.append(is_following)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield httpx.Response(204) if answer is None else httpx.Response(200, stream=Body(l.encoded(answer)))


class Body(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.sqlite", None)
    yield opened
    opened.close()


def apply(store: Store, *lines: dict[str, Any]) -> Applied:
    with Applier(store) as applier:
        for line in l.decoded(lines):
            applier.take(line)
    return applier.counted()


def rows_of(store: Store, table: str, *columns: str) -> set[tuple[Any, ...]]:
    return set(store.connection.execute(f"select {', '.join(columns)} from {table}").fetchall())


def test_an_answer_that_ends_early_is_resumed_but_not_for_ever(store: Store) -> None:
    endpoint = Answers([l.begin(), l.model(), l.put(l.contact("a")), l.cursor("c1")], *[[]] * TRIES)
    pauses: list[float] = []

    with pytest.raises(ServerUnreachable):
        Download(store, endpoint, pause=pauses.append).run()

    assert endpoint.cursors == [None, *["c1"] * TRIES]
    assert len(pauses) == TRIES - 1
    assert rows_of(store, "contact", "contactid") == {("a",)}
    assert "ended" in (store.get("last_error") or "")


def test_cursors_that_come_are_progress_however_often_the_network_breaks(store: Store) -> None:
    steps = [[l.begin(), l.put(l.contact(str(n))), l.cursor(f"c{n}"), l.put(l.contact("lost"))] for n in range(20)]
    endpoint = Answers([l.begin(), l.model(), l.cursor("c")], *steps, [l.begin(), l.end("e", 9)])

    report = Download(store, endpoint, pause=lambda _: None).run()

    assert (report.rows_put, report.checkpoint, report.answers) == (20, 9, 22)
    assert len(rows_of(store, "contact", "contactid")) == 20


def test_who_follows_gets_a_report_of_each_change_in_one_answer(store: Store) -> None:
    first = [l.begin(), l.model(), l.put(l.contact("a"), l.contact("b")), l.end("c1", 1)]
    more = [l.begin(), l.put(l.contact("c")), l.end("c2", 2), l.begin(), l.remove("a"), l.end("c3", 3)]
    endpoint = Answers([*first, *more])
    reports: list[SyncReport] = []

    Download(store, endpoint, on_end=lambda report: bool(reports.append(report))).run(wait_seconds=1)

    assert [(r.checkpoint, r.rows_put, r.rows_removed) for r in reports] == [(1, 2, 0), (2, 1, 0), (3, 0, 1)]
    assert endpoint.cursors == [None]
    assert endpoint.follows == [True]
    assert rows_of(store, "contact", "contactid") == {("b",), ("c",)}


def test_who_follows_until_it_is_enough_reads_no_further(store: Store) -> None:
    endpoint = Answers([l.begin(), l.model(), l.end("c1", 1), l.begin(), l.end("c2", 2)])

    Download(store, endpoint, on_end=lambda report: report.checkpoint == 1).run(wait_seconds=1)

    assert store.get("cursor") == "c1"


def test_who_follows_goes_on_where_the_answer_broke_off(store: Store) -> None:
    broken = [l.begin(), l.model(), l.put(l.contact("a")), l.end("c1", 1), l.begin(), l.put(l.contact("lost"))]
    endpoint = Answers(broken, [l.begin(), l.put(l.contact("b")), l.end("c2", 2)])
    reports: list[SyncReport] = []

    Download(store, endpoint, pause=lambda _: None, on_end=lambda r: bool(reports.append(r))).run(wait_seconds=1)

    assert [(r.checkpoint, r.rows_put) for r in reports] == [(1, 1), (2, 1)]
    assert endpoint.cursors == [None, "c1"]
    assert rows_of(store, "contact", "contactid") == {("a",), ("b",)}


def test_cursors_that_bring_nothing_come_to_an_end(store: Store) -> None:
    idle = [[l.begin(), l.cursor(f"c{n}")] for n in range(MAX_IDLE_ANSWERS - 1)]
    news = [l.begin(), l.put(l.contact("a")), l.cursor("c")]
    endpoint = Answers([l.begin(), l.model(), l.cursor("c")], *idle, news, *idle, [l.begin(), l.cursor("last")], news)

    with pytest.raises(ServerUnreachable, match="nothing new"):
        Download(store, endpoint).run()

    assert endpoint.answers == [news]
    assert rows_of(store, "contact", "contactid") == {("a",)}


def test_a_long_wish_to_wait_is_cut(store: Store) -> None:
    endpoint = Answers(ServerUnreachable(wait_seconds=86_400), [l.begin(), l.model(), l.end("e")])
    pauses: list[float] = []

    Download(store, endpoint, pause=pauses.append).run()

    assert pauses == [LONGEST_PAUSE_SECONDS]


def test_a_client_model_without_entities_is_known_too(store: Store) -> None:
    nothing = ClientModel(())
    endpoint = Answers([l.begin(model=nothing), l.model(nothing), l.end("e")], None)

    Download(store, endpoint).run()
    report = Download(store, endpoint).run()

    assert endpoint.models == [None, nothing.digest]
    assert report.was_current


def test_rows_of_a_refused_step_are_not_reported(store: Store) -> None:
    endpoint = Answers(
        [l.begin(), l.model(), l.put(l.contact("a")), {"put": "ghost", "columns": [], "rows": []}, l.end("e")]
    )
    download = Download(store, endpoint, pause=lambda _: None)

    with pytest.raises(ProtocolBroken):
        download.run()

    assert download._report.rows_put == 0
    assert store.get("cursor") is None


@pytest.mark.parametrize(
    "line",
    [
        l.put(["too", "short"]),
        l.put([*l.contact("a"), "too long"]),
        l.put(l.contact(None)),  # type: ignore[arg-type]
        l.put(l.contact("a", fullname={"nested": 1})),
        l.put(l.contact("a", fullname=2**70)),
        {"put": "contact", "columns": ["contactid", "ghost"], "rows": [["a", 1]]},
        {"put": "contact", "columns": ["fullname"], "rows": [["Ann"]]},
        {"remove": "contact", "keys": [["a", "b"]]},
        {"remove": "contact", "keys": [{"a": 1}]},
        l.model(ClientModel((ClientEntity(name="sqlite_x", key=("id",), attributes=()),))),
    ],
)  # fmt: skip
def test_lines_that_fit_no_table_are_refused_and_nothing_changes(store: Store, line: dict[str, Any]) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("kept")), l.cursor("c1"))

    with pytest.raises(ProtocolBroken):
        apply(store, l.begin(), l.remove("kept"), line, l.end("c2"))

    assert rows_of(store, "contact", "contactid") == {("kept",)}
    assert store.get("cursor") == "c1"
    assert store.model == l.MODEL


def test_what_is_not_here_needs_no_removing(store: Store) -> None:
    apply(store, l.begin(), l.model(), {"wipe": ["gone"]}, {"remove": "gone", "keys": ["x"]}, l.end("c1"))
    assert store.get("cursor") == "c1"


KEYED = ClientModel(
    tuple(
        ClientEntity(
            name=kind.value,
            key=("a", "b"),
            attributes=(ClientAttribute(name="a", type=kind, scale=2), ClientAttribute(name="b", type=T.STRING)),
        )
        for kind in (T.BOOLEAN, T.DECIMAL, T.DOUBLE, T.BIGINT, T.STRING)
    )
)
KEYS = {
    T.BOOLEAN: [True, False],
    T.DECIMAL: ["94.50", "1.00"],
    T.DOUBLE: [1.0, 2.5],
    T.BIGINT: [2**62, -1],
    T.STRING: ['é"\u2028\x1f', "plain"],
}


def test_a_reset_knows_its_rows_again_whatever_their_key(store: Store) -> None:
    puts = [
        {"put": kind.value, "columns": ["a", "b"], "rows": [[key, "x\u007f"] for key in keys]}
        for kind, keys in KEYS.items()
    ]
    apply(store, l.begin(model=KEYED), l.model(KEYED), *puts, l.end("c1"))
    forget_position(store)

    applied = apply(store, l.begin(model=KEYED), *({**put, "rows": put["rows"][:1]} for put in puts), l.end("c2"))

    assert applied.rows_removed == len(KEYS)
    assert {kind: len(rows_of(store, kind.value, "a")) for kind in KEYS} == dict.fromkeys(KEYS, 1)


def test_rows_are_removed_whatever_their_key(store: Store) -> None:
    puts = [
        {"put": kind.value, "columns": ["a", "b"], "rows": [[key, "x"] for key in keys]} for kind, keys in KEYS.items()
    ]
    apply(store, l.begin(model=KEYED), l.model(KEYED), *puts, *puts, l.end("c1"))

    apply(store, l.begin(), *({"remove": k.value, "keys": [[keys[0], "x"]]} for k, keys in KEYS.items()), l.end("c2"))

    assert {kind: len(rows_of(store, kind.value, "a")) for kind in KEYS} == dict.fromkeys(KEYS, 1)


def test_any_history_of_resets_and_interruptions_ends_with_what_the_server_has(tmp_path: Path) -> None:
    """A small model of the server: its answers are cut anywhere, and a reset may begin at any sync."""
    for seed in range(40):
        r = random.Random(seed)
        store = Store(Path(":memory:"), None)
        held: dict[str, str] = {}
        apply(store, l.begin(), l.model(), l.end(""))
        for _ in range(4):
            removed = r.sample(sorted(held), min(len(held), r.randint(0, 3)))
            changed = {r.choice("abcdefgh"): f"n{r.randint(0, 99)}" for _ in range(r.randint(0, 4))}
            for key in removed:
                del held[key]
            held |= changed
            if is_reset := r.random() < 0.5:
                stream = [l.put(l.contact(key, name)) for key, name in held.items()]
            else:
                gone = [l.remove(key) for key in removed if key not in held]
                stream = [*gone, *(l.put(l.contact(key, name)) for key, name in changed.items())]
            _sync_in_pieces(store, stream, held if is_reset else None, r)
            assert rows_of(store, "contact", "contactid", "fullname") == set(held.items()), f"seed {seed}"
        store.close()


def _sync_in_pieces(
    store: Store, stream: list[dict[str, Any]], reset_to: dict[str, str] | None, r: random.Random
) -> None:
    """`reset_to`: what a reset sends; between two answers it may begin over with a row less."""
    sent = 0
    while True:
        if reset_to and sent and r.random() < 0.4:
            del reset_to[r.choice(sorted(reset_to))]
            stream, sent = [l.put(l.contact(key, name)) for key, name in reset_to.items()], 0
        with Applier(store) as applier:
            applier.take(*l.decoded([l.begin(reset=reset_to is not None and sent == 0)]))
            waiting = 0
            for line in stream[sent:]:
                if r.random() < 0.2:
                    break
                applier.take(*l.decoded([line]))
                waiting += 1
                if r.random() < 0.3:
                    applier.take(*l.decoded([l.cursor(str(sent + waiting))]))
                    sent, waiting = sent + waiting, 0
            else:
                applier.take(*l.decoded([l.end("")]))
                return


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "E501", TokenInvalid),
        (403, "", TokenInvalid),
        (400, "E403", CursorInvalid),
        (404, "E112", OrganizationUnknown),
        (503, "E201", SourceBusy),
        (500, "E000", ServerUnreachable),
        (502, "", ServerUnreachable),
        (429, "", ServerUnreachable),
        (404, "", RequestInvalid),
        (302, "E999", RequestInvalid),
    ],
)
def test_a_refusal_is_the_error_that_its_code_names(status: int, code: str, expected: type[SatchelError]) -> None:
    problem = Problem(title="Refused.", status=status, code=code, hint="Do this.")
    assert type(error_of(status, msgspec.json.encode(problem))) is expected
    assert isinstance(error_of(502, b"\xff<html>"), ServerUnreachable)


def test_a_damaged_database_is_told_from_a_wrong_key(tmp_path: Path) -> None:
    path = tmp_path / "device.sqlite"
    store = Store(path, None)
    apply(store, l.begin(), l.model(), l.put(*(l.contact(f"{n:050}") for n in range(3000))), l.end("c"))
    store.connection.pragma("wal_checkpoint(truncate)")
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)

    damaged = Store(path, None)
    with pytest.raises(CopyDiverged), damaged.transaction() as connection:
        connection.execute("delete from contact")
    damaged.close()
    path.write_bytes(b"not a database, but longer than a header" * 400)
    with pytest.raises(DeviceKeyWrong):
        Store(path, None)
    with pytest.raises(DataFolderUnusable):
        Store(tmp_path / "no" / "such" / "folder.sqlite", None)
