"""Firing schedules on time: any worker does it for all, and each tick is fired once.

Every worker sleeps until the next tick and then tries to fire it; the script lets one of
them. Schedules that were made at run time are everybody's. Those that code declares are fired only
by workers whose code declares them: one that was removed stops with the last old worker.
"""

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.schedules import TICK_LIMIT, Declared, Fired, Tick

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiostreamq.model.schedules.definition import Definition
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.store.schedules import Due, ScheduleStore, State

logger = get_logger("aiostreamq.worker")

# Seconds at most between two looks: a word that was lost costs no more.
LONGEST_SLEEP = 15.0

# Seconds before the next look where Redis refused this one.
PAUSE = 5.0

# Seconds at most between two looks where more is due than one call lists, and none of it can be
# fired. What moves up between two calls is seen by neither: it is late then, but not missed.
CROWDED_SLEEP = 5.0

# Seconds at least between two looks of which the first found nothing to do.
SHORTEST_SLEEP = 0.01

# Seconds between saying that the code still declares what it declares.
DECLARE_AGAIN = 60.0

# A schedule that no code has declared for so many ms is forgotten: long enough for an
# application that is down for some days to come back and catch up.
LEFTOVER_MS = 7 * 24 * 3600 * 1000


class Ticker:
    """Watches the schedules of a queue."""

    def __init__(
        self,
        timetable: "ScheduleStore",
        clock: "ServerClock",
        declared: "Mapping[str, Definition]",
        cancel: "Callable[[Sequence[str]], Awaitable[object]]",
    ) -> None:
        """Prepare.

        Args:
            timetable: The schedules.
            clock: By which they go.
            declared: Those that the code here declares, by name.
            cancel: Cancels the jobs of some ids, whatever their state.
        """
        self._timetable = timetable
        self._clock = clock
        self._declared = declared
        self._cancel = cancel
        self._names: tuple[str, ...] = ()  # of what is declared here, and taken nowhere else
        self._read: dict[str, tuple[str, Definition]] = {}  # by name, with its rev
        self._told: set[tuple[str, str]] = set()  # name and rev of what makes no sense
        self._declare_at = 0.0  # on the loop's clock
        self._has_declared = False
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now: something may be due earlier than was known."""
        self._woken.set()

    async def start(self) -> None:
        """Say what the code here declares, so that it can be asked for once the worker runs."""
        try:
            await self._declare()
        except BrokerError as error:
            logger.warning("schedules could not be declared, trying on: %s", error)

    async def run(self) -> None:
        """Fire until cancelled."""
        while True:
            self._woken.clear()
            wait = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _look(self) -> float:
        """Fire what is due; returns the seconds to sleep."""
        try:
            await self._declare()
            return await self._fire_due()
        except BrokerError:
            logger.exception("schedules could not be looked at, trying on")
            return PAUSE

    async def _fire_due(self) -> float:
        """Fire what is due, also behind what can not be fired; returns the seconds to sleep."""
        passed, wait, has_fired, is_refused = 0, LONGEST_SLEEP, False, False
        while True:
            page = await self._timetable.due(self._names, passed)
            for one in page.unreadable:
                self._tell_once(one.name, one.rev, f"what is kept of it makes no sense: {one.why}")
            ticks = [tick for one in page.due for tick in self._ticks(one)]
            passed += TICK_LIMIT
            if ticks:
                try:
                    await self._fire(ticks)
                    has_fired = True
                    passed -= len({tick.name for tick in ticks})
                except BrokerError:  # the lane of one may be another program's key
                    logger.exception("not all schedules could be fired, trying on")
                    is_refused = True
            wait = wait if page.wait is None else min(wait, page.wait)
            if not page.has_more:
                break
        if is_refused:
            return PAUSE
        if has_fired:
            return 0.0
        is_crowded = passed > TICK_LIMIT
        return max(min(wait, CROWDED_SLEEP) if is_crowded else wait, SHORTEST_SLEEP)

    def _ticks(self, due: "Due") -> "list[Tick]":
        """What is to be done about one schedule, as the script takes it.

        Nothing where this worker can not make sense of it: the others go on.
        """
        from aiostreamq.model.schedules.definition import Definition
        from aiostreamq.worker.due.tick_plan import ticks_of

        rev, definition = self._read.get(due.name, ("", None))
        try:
            if definition is None or rev != due.rev:
                definition = Definition.decode(due.definition)
                self._read[due.name] = (due.rev, definition)
        except ValueError as error:
            self._tell_once(due.name, due.rev, f"it is {error}")
            return []
        try:
            return list(ticks_of(due, definition, self._clock.now_ms()))
        except Exception as error:  # noqa: BLE001  # a reckoning that fails is this schedule's alone
            self._tell_once(due.name, due.rev, "what is kept of it makes no sense", error)
            return []

    def _tell_once(self, name: str, rev: str, why: str, error: Exception | None = None) -> None:
        if (name, rev) not in self._told:
            self._told.add((name, rev))
            logger.error("schedule %r is not fired by this worker, %s", name, why, exc_info=error)

    async def _fire(self, ticks: list[Tick]) -> None:
        answers = await self._timetable.fire(ticks)
        self._report(ticks, answers)
        replacing = [(tick, old) for tick, old in zip(ticks, answers, strict=True)
                     if isinstance(old, str)]  # fmt: skip
        if not replacing:
            return
        for tick, old in replacing:
            logger.info("cancelling job %s: %s is due", old, tick.job_id)
        # Before the new one is there, so that no crash leaves both.
        await self._cancel([old for _, old in replacing])
        await self._fire([tick._replace(overlap="allow") for tick, _ in replacing])

    def _report(self, ticks: list[Tick], answers: list[int | str]) -> None:
        for tick, answer in zip(ticks, answers, strict=True):
            if answer == Fired.SKIPPED:
                logger.info("schedule %r: the last job runs on, %s is left out",
                            tick.name, tick.job_id)  # fmt: skip
            elif answer == Fired.LEFT_OUT:
                logger.warning("schedule %r: missed ticks from %s on are left out",
                               tick.name, tick.job_id)  # fmt: skip

    async def _declare(self) -> None:
        """Say what the code here declares: in full at first, then that it still does."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._declare_at:
            return
        declared = self._declared
        now = self._clock.now_ms()
        told = [(name, one.encode(), one.next_after(now)) for name, one in declared.items()]
        answers = await self._timetable.declare(told, look=self._has_declared)
        if self._has_declared:
            # Only where Redis has lost it: what a newer worker has changed stays changed.
            lost = [one for one, answer in zip(told, answers, strict=True)
                    if answer == Declared.ABSENT]  # fmt: skip
            await self._timetable.declare(lost)
        else:
            self._names = tuple(
                name
                for name, answer in zip(declared, answers, strict=True)
                if answer != Declared.TAKEN
            )
            for name in declared.keys() - set(self._names):
                logger.error(
                    "schedule %r of this code is not used: one of that name was made at run "
                    "time; delete that, or name this otherwise",
                    name,
                )
            new = {name for name, answer in zip(declared, answers, strict=True)
                   if answer == Declared.NEW}  # fmt: skip
            await self._look_for_leftovers(declared, new)
        self._has_declared = True
        # At random, so that a fleet does not do it as one.
        self._declare_at = loop.time() + DECLARE_AGAIN * random.uniform(0.8, 1.2)

    async def _look_for_leftovers(
        self, declared: "Mapping[str, Definition]", new: set[str]
    ) -> None:
        """Report what other code has declared, and forget it in the end."""
        for state in await self._timetable.all():
            if isinstance(state, UnreadableSchedule):
                continue  # told when it is due
            if not state.is_code or state.name in declared:
                continue
            if await self._timetable.remove(state.name, None, unseen_ms=LEFTOVER_MS):
                logger.info("schedule %r is forgotten: no code has declared it for a week",
                            state.name)  # fmt: skip
                continue
            self._report_leftover(state, declared, new)

    def _report_leftover(
        self, state: "State", declared: "Mapping[str, Definition]", new: set[str]
    ) -> None:
        from aiostreamq.worker.due.tick_plan import heir_of

        heir = heir_of(state, declared, new)
        if heir is not None:
            new.discard(heir)  # it is the new name of no other
            logger.warning(
                "schedule %r seems to have been renamed to %r: it stops with the last "
                "worker of the old code, and what was counted starts anew",
                state.name,
                heir,
            )
        else:
            logger.warning(
                "schedule %r is not in the code of this worker: unless another's has it, "
                "it does not run any more",
                state.name,
            )
