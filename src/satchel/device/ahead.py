"""Reading ahead: one thread receives and decodes while another writes; both leave Python's lock for most of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.2
_END_SECONDS = 0.5
"""How long a source that has no more items may take to end by itself."""


class _End:
    """The last item: what the source failed with, if it did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def reading_ahead(source: Iterator[T], *, depth: int, interrupt: Callable[[], None]) -> Iterator[Iterator[T]]:
    """The items of a source, read in a thread of its own up to `depth` items ahead.

    Where the block is left early, `interrupt` has to make the source's reading fail; the thread has ended when this
    returns. Errors: whatever the source raises.
    """
    items: queue.Queue[T | _End] = queue.Queue(depth)
    is_left = threading.Event()
    thread = threading.Thread(target=_fill, args=(source, items, is_left), daemon=True, name="satchel download")
    thread.start()
    try:
        yield _items(items)
    finally:
        is_left.set()
        thread.join(_END_SECONDS)
        if thread.is_alive():
            interrupt()
            thread.join()


def _items(items: queue.Queue[T | _End]) -> Iterator[T]:
    while True:
        item = items.get()
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item


def _fill(source: Iterator[T], items: queue.Queue[T | _End], is_left: threading.Event) -> None:
    end = _End(None)
    try:
        for item in source:
            if not _offer(items, item, is_left):
                return
    except BaseException as error:
        end = _End(error)
    _offer(items, end, is_left)


def _offer(items: queue.Queue[T | _End], item: T | _End, is_left: threading.Event) -> bool:
    while not is_left.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
