"""Sends edits as they are made, beside a download that waits for news: neither waits for the other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import apsw

from satchel.device.edits import outbox
from satchel.device.edits.outbox import SetState
from satchel.device.edits.upload import upload
from satchel.device.endpoint import Endpoint
from satchel.device.sign_in.kept import read_kept
from satchel.device.store import Enrolment, Store
from satchel.errors import RetryLater, SatchelError

LOOK_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@contextlib.contextmanager
def sending(
    open_store: Callable[[], Store], enrolment: Enrolment, on_trouble: Callable[[SatchelError], None]
) -> Iterator[None]:
    """Send what is put into the outbox, by this process or another, until left."""
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=(open_store, enrolment, on_trouble, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=LONGEST_PAUSE_SECONDS)


def _send(
    open_store: Callable[[], Store],
    enrolment: Enrolment,
    on_trouble: Callable[[SatchelError], None],
    stop: threading.Event,
) -> None:
    store, endpoint = open_store(), Endpoint(enrolment)
    pause_seconds = FIRST_PAUSE_SECONDS
    try:
        while not stop.wait(LOOK_SECONDS):
            try:
                waiting = outbox.counts(store.connection).get(SetState.WAITING, 0)
                if waiting and _is_signed_out(store):
                    stop.wait(FIRST_PAUSE_SECONDS)
                elif waiting and not upload(store, endpoint.post_edits):
                    stop.wait(FIRST_PAUSE_SECONDS)  # another version of it is on its way just now
                pause_seconds = FIRST_PAUSE_SECONDS
            except (SatchelError, apsw.Error) as error:
                if isinstance(error, SatchelError):
                    on_trouble(error)
                wished = error.wait_seconds if isinstance(error, RetryLater) else 0.0
                stop.wait(max(wished, pause_seconds))
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)
    finally:
        endpoint.close()
        store.close()


def _is_signed_out(store: Store) -> bool:
    """The user signed out, maybe by another process: edits wait."""
    kept = read_kept(store)
    return kept is not None and kept.is_ended
