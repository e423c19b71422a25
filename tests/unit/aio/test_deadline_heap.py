"""One heap holds all deadlines, and each expires in time."""

import asyncio
import gc
import weakref

from aiostreamq.aio.deadline_heap import Deadlines


class Ending:
    """The state of a thing."""

    is_over = False


class Thing:
    """Something with a deadline."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.state = Ending()


class Bell:
    """Takes note of what expires."""

    def __init__(self, expected: int = 1) -> None:
        self.rung: list[Thing] = []
        self.done = asyncio.Event()
        self._expected = expected

    def ring(self, thing: Thing) -> None:
        """Note *thing*."""
        self.rung.append(thing)
        if len(self.rung) == self._expected:
            self.done.set()


async def test_one_that_raises() -> None:
    """It stops none of the others, and none that comes later."""
    bell = Bell(3)
    faults: list[object] = []

    def ring(thing: Thing) -> None:
        if thing.name == "bad":
            raise SystemError(thing.name)
        bell.ring(thing)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    deadlines = Deadlines[Thing](ring)
    for name, after in (("bad", 0.0), ("a", 0.0), ("bad", 0.01), ("b", 0.02)):
        deadlines.add(Thing(name), after)
    loop.call_later(0.05, lambda: deadlines.add(Thing("c"), 0.0))
    await bell.done.wait()
    assert [thing.name for thing in bell.rung] == ["a", "b", "c"]
    assert len(faults) == 2


async def test_in_the_order_of_their_time() -> None:
    """What is due first expires first, however it was added."""
    bell = Bell(4)
    deadlines = Deadlines[Thing](bell.ring)
    for name, after in (("c", 0.2), ("a", 0.0), ("d", 0.3), ("b", 0.1)):
        deadlines.add(Thing(name), after)
    await bell.done.wait()
    assert [thing.name for thing in bell.rung] == ["a", "b", "c", "d"]


async def test_not_before_its_time() -> None:
    """A deadline is never early."""
    loop = asyncio.get_running_loop()
    bell = Bell()
    started = loop.time()
    Deadlines[Thing](bell.ring).add(Thing(), 0.02)
    await bell.done.wait()
    assert loop.time() - started >= 0.02


async def test_what_is_over() -> None:
    """It does not expire, and is no obstacle to what comes after it."""
    bell = Bell()
    deadlines = Deadlines[Thing](bell.ring)
    over, after = Thing("over"), Thing("after")
    deadlines.add(over, 0.005)
    deadlines.add(after, 0.01)
    over.state.is_over = True
    await bell.done.wait()
    assert bell.rung == [after]


async def test_added_while_one_expires() -> None:
    """What a callback adds expires too: a run that is cancelled gets a second deadline."""
    again: list[int] = []
    done = asyncio.Event()

    def expire(thing: Thing) -> None:
        again.append(1)
        if len(again) == 3:
            done.set()
        else:
            deadlines.add(thing, 0.001)

    deadlines = Deadlines[Thing](expire)
    deadlines.add(Thing(), 0.001)
    await done.wait()


async def test_closed() -> None:
    """Nothing expires any more."""
    bell = Bell()
    deadlines = Deadlines[Thing](bell.ring)
    deadlines.add(Thing("before"), 0.0)
    deadlines.close()
    other = Bell()
    Deadlines[Thing](other.ring).add(Thing("later"), 0.005)
    await other.done.wait()
    assert not bell.rung


async def test_what_is_over_is_let_go() -> None:
    """A million quick jobs with a long timeout do not pile up."""
    deadlines = Deadlines[Thing](lambda _: None)
    left: weakref.WeakSet[Thing] = weakref.WeakSet()
    for _ in range(5_000):
        thing = Thing()
        left.add(thing)
        deadlines.add(thing, 3600)
        thing.state.is_over = True
    gc.collect()
    assert len(left) < 500
    deadlines.close()
