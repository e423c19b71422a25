"""Listeners get every event, and cannot hurt what emits it."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from aiostreamq.aio import listeners as listeners_module
from aiostreamq.aio.listeners import Listeners
from aiostreamq.errors import UsageError
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0


class Unprintable(BaseException):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        """Raise."""
        raise RuntimeError("no text")


class Unhashable:
    """A listener that is an object."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def __hash__(self) -> int:
        """Raise."""
        raise TypeError("not hashable")

    def __eq__(self, other: object) -> bool:
        """Raise."""
        raise TypeError("not comparable")

    def __call__(self, event: int) -> None:
        """Note the event."""
        self.got.append(event)


async def test_nothing_is_heard_without_a_function() -> None:
    """`is_heard` says whether an event is worth making, also after a function came later."""
    parent = Listeners[int]()
    child = Listeners[int](parent)
    assert not child.is_heard
    child.add(print)
    assert child.is_heard
    assert not parent.is_heard
    parent.add(print)
    assert parent.is_heard
    assert Listeners[int](parent).is_heard


async def test_events_come_in_order_to_all_functions() -> None:
    """A child's events go to the parent's functions too, and the parent's not to the child's."""
    got: list[tuple[str, int]] = []
    parent = Listeners[int](None, [lambda event: got.append(("parent", event))])
    child = Listeners[int](parent, [lambda event: got.append(("child", event))])
    child.emit(1)
    parent.emit(2)
    await child.flush(PATIENCE)
    assert got == [("parent", 1), ("child", 1), ("parent", 2)]


async def test_slow_listener_delays_nothing_but_listeners() -> None:
    """The emitting loop continues while a listener blocks, and a flush gives up on time."""
    go_on, got = threading.Event(), list[int]()

    def block(event: int) -> None:
        go_on.wait(PATIENCE)
        got.append(event)

    listeners = Listeners[int](None, [block])
    listeners.emit(1)
    listeners.emit(2)
    await listeners.flush(0.01)
    assert got == []
    go_on.set()
    await listeners.flush(PATIENCE)
    assert got == [1, 2]


async def test_events_are_dropped_while_a_listener_is_too_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits is bounded. How much was lost is logged when the listener has caught up."""
    monkeypatch.setattr(listeners_module, "MOST_WAITING", 2)
    go_on, began, got = threading.Event(), threading.Event(), list[int]()

    def block(event: int) -> None:
        began.set()
        go_on.wait(PATIENCE)
        got.append(event)

    listeners = Listeners[int](None, [block])
    listeners.emit(0)
    await wait_until(began.is_set, "the listener to block")
    for event in range(1, 6):
        listeners.emit(event)
    go_on.set()
    await wait_until(lambda: "3 events were dropped" in caplog.text, "the loss to be logged")
    assert got == [0, 1, 2]
    assert caplog.text.count("listeners are too slow: ") == 1


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unprintable(),
     asyncio.CancelledError(), StopIteration()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_error_of_a_listener_is_logged_once_and_contained(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Each event still reaches the listener that raises, and the others."""
    got: list[int] = []

    def fail(event: int) -> None:
        got.append(event)
        raise error

    listeners = Listeners[int](None, [fail, lambda event: got.append(-event)])
    for event in (1, 2, 3):
        listeners.emit(event)
    await listeners.flush(PATIENCE)
    assert got == [1, -1, 2, -2, 3, -3]
    assert len([r for r in caplog.records if "a listener raised" in r.getMessage()]) == 1


async def test_each_kind_of_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Another kind of error is news."""

    def fail(event: int) -> None:
        raise (KeyError if event % 2 else IndexError)(event)

    listeners = Listeners[int](None, [fail])
    for event in range(6):
        listeners.emit(event)
    await listeners.flush(PATIENCE)
    assert len([r for r in caplog.records if "a listener raised" in r.getMessage()]) == 2


async def test_object_that_is_neither_hashable_nor_comparable_can_listen() -> None:
    """Listeners are told apart by identity."""
    listener = Unhashable()
    listeners = Listeners[int](None, [listener])
    listeners.emit(7)
    await listeners.flush(PATIENCE)
    assert listener.got == [7]


async def test_coroutine_of_a_disguised_listener_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A `def` that returns a coroutine is a mistake that is found when it is called."""

    async def nothing() -> None:
        """Do nothing."""

    listeners = Listeners[int](None, [lambda _: nothing()])
    listeners.emit(1)
    await listeners.flush(PATIENCE)
    assert "returned a coroutine" in caplog.text


async def listen(event: int) -> None:
    """Listen, wrongly."""


class AsyncCall:
    """Listens, wrongly."""

    async def __call__(self, event: int) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "function", [listen, AsyncCall(), partial(listen, 1), AsyncCall().__call__]
)
async def test_async_listener_is_refused(function: Callable[[int], object]) -> None:
    """Nothing would await what it returns."""
    with pytest.raises(UsageError, match="is async"):
        Listeners[int]().add(function)


async def test_what_cannot_be_called_is_refused() -> None:
    """When it is registered, not with the first event."""
    with pytest.raises(UsageError, match="a listener is a function"):
        Listeners[int](None, [cast("Callable[[int], object]", "log")])


async def test_flush_without_an_event_returns() -> None:
    """There is no thread to wait for."""
    await Listeners[int](None, [print]).flush(PATIENCE)


async def test_leave() -> None:
    """What happens to the parent is no matter any more; events are handed out as before."""
    parent = Listeners[int](None, [print])
    child = Listeners[int](parent)
    child.leave()
    child.leave()
    parent.leave()
    parent.add(bool)
    assert child.functions == (print,)
    assert child.is_heard
