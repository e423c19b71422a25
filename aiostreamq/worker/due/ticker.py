"""Schedules are fired on time: any worker does it for all, and each tick is fired once.

Every worker sleeps until the next tick and then tries to fire it; the script lets one of them do
so. Any worker fires the schedules that were created at run time. Those that code declares are fired
only by workers whose code declares them: one that was removed stops with the last old worker.
"""

import random
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.schedule_replies import Declared, Fired
from aiostreamq.store.schedules import TICK_LIMIT, Tick

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiostreamq.model.schedules.definition import Definition
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.store.schedule_replies import Due
    from aiostreamq.store.schedules import ScheduleStore

logger = get_logger("aiostreamq.worker")

# Seconds at most between two looks: a lost message costs no more than this.
LONGEST_SLEEP = 15.0

# Seconds before the next look if Redis refused this one.
PAUSE = 5.0

# Seconds at most between two looks if more is due than one call lists, and none of it can be fired.
# A schedule that moves up between two calls is seen by neither: it is late then, but not missed.
CROWDED_SLEEP = 5.0

# Seconds at least to the next look if this one found nothing to do.
SHORTEST_SLEEP = 0.01

# The answers after which the next tick is the one that this worker has planned.
AS_PLANNED = {Fired.ENQUEUED, Fired.SKIPPED, Fired.THERE_ALREADY, Fired.LEFT_OUT}

# Seconds between two declarations of the schedules in the code.
DECLARE_AGAIN = 60.0

# A schedule that no code has declared for this long is deleted, in ms: long enough for an
# application that is down for some days to come back and catch up.
LEFTOVER_MS = 7 * 24 * 3600 * 1000


class _Round:
    """One look at all schedules that are due, page by page."""

    def __init__(self) -> None:
        self.still_due = 0  #: how many were looked at and not fired: the next page is after them
        self.wait = LONGEST_SLEEP  #: seconds until the next one is due
        self.must_look = False  #: only Redis knows when the next one is due
        self.is_refused = False  #: Redis has refused to fire some

    def note_fired(self, ticks: list[Tick], answers: "list[Fired | str]", now_ms: int) -> None:
        """Note what became of ticks: the next ones are known if they are as planned here."""
        for tick, answer in zip(ticks, answers, strict=True):
            self.must_look |= answer not in AS_PLANNED or tick.held is not None
        for following in {tick.name: tick.following for tick in ticks}.values():
            if following is not None:
                self.wait = min(self.wait, (following - now_ms) / 1000)
                self.must_look |= following <= now_ms

    def pause(self) -> float:
        """Return the seconds until the next round."""
        if self.is_refused:
            return PAUSE
        if self.must_look:
            return 0.0
        is_crowded = self.still_due > TICK_LIMIT
        return max(min(self.wait, CROWDED_SLEEP) if is_crowded else self.wait, SHORTEST_SLEEP)


class Ticker:
    """Watches the schedules of a queue."""

    def __init__(
        self,
        schedules: "ScheduleStore",
        server_clock: "ServerClock",
        declared: "Mapping[str, Definition]",
        cancel: "Callable[[Sequence[str]], Awaitable[object]]",
    ) -> None:
        """Prepare.

        Args:
            schedules: The schedules of the queue.
            server_clock: The clock that ticks refer to.
            declared: The schedules that the code here declares, by name.
            cancel: Cancels the jobs of some ids, in any state.
        """
        self._schedules = schedules
        self._clock = server_clock
        self._declared = declared
        self._cancel = cancel
        self._names: tuple[str, ...] = ()  # of what is declared here and fired by code alone
        self._read: dict[str, tuple[str, Definition]] = {}  # by name, with its rev
        self._logged: set[tuple[str, str]] = set()  # name and revision of invalid ones
        self._declare_at = 0.0  # by the monotonic clock
        self._has_declared = False
        self._wakeup = Wakeup()

    def wake(self) -> None:
        """Look now: a schedule may be due earlier than was known."""
        self._wakeup.wake()

    async def start(self) -> None:
        """Declare the schedules of the code, so that they exist once the worker runs."""
        try:
            await self._declare()
        except BrokerError as error:
            logger.warning("schedules could not be declared, retrying: %s", error)

    async def run(self) -> None:
        """Fire until cancelled."""
        while True:
            await self._wakeup.wait(await self._look())

    async def _look(self) -> float:
        """Declare, and fire what is due; return the seconds to sleep."""
        try:
            await self._declare()
            return await self._fire_due()
        except BrokerError:
            logger.exception("schedules could not be fired, retrying")
            return PAUSE

    async def _fire_due(self) -> float:
        """Fire what is due, past what cannot be fired; return the seconds to sleep."""
        done = _Round()
        while True:
            page = await self._schedules.due(self._names, done.still_due)
            for one in page.unreadable:
                self._log_once(one.name, one.rev, f"its state is invalid: {one.why}")
            ticks = [tick for one in page.due for tick in self._ticks(one)]
            done.still_due += page.looked
            if ticks:
                try:
                    done.note_fired(ticks, await self._fire(ticks), self._clock.now_ms())
                    done.still_due -= len({tick.name for tick in ticks})
                except BrokerError:  # the key of its lane may be of another type
                    logger.exception("not all schedules could be fired, retrying")
                    done.is_refused = True
            if page.wait is not None:
                done.wait = min(done.wait, page.wait)
            if not page.has_more:
                return done.pause()

    def _ticks(self, due: "Due") -> "list[Tick]":
        """Return the ticks of one schedule, as the script takes them.

        An invalid schedule has none, so that it does not stop the others.
        """
        from aiostreamq.model.schedules.definition import Definition
        from aiostreamq.worker.due.tick_plan import ticks_of

        rev, definition = self._read.get(due.name, ("", None))
        try:
            if definition is None or rev != due.rev:
                definition = Definition.decode(due.definition)
                self._read[due.name] = (due.rev, definition)
        except ValueError as error:
            self._log_once(due.name, due.rev, f"{error}")
            return []
        try:
            return list(ticks_of(due, definition, self._clock.now_ms()))
        except Exception as error:  # noqa: BLE001  # must not stop the others
            self._log_once(due.name, due.rev, "its ticks cannot be computed", error)
            return []

    def _log_once(self, name: str, rev: str, why: str, error: Exception | None = None) -> None:
        if (name, rev) not in self._logged:
            self._logged.add((name, rev))
            logger.error("schedule %r is not fired by this worker: %s", name, why, exc_info=error)

    async def _fire(self, ticks: list[Tick]) -> "list[Fired | str]":
        answers = await self._schedules.fire(ticks)
        self._report(ticks, answers)
        replacing = [(tick, old) for tick, old in zip(ticks, answers, strict=True)
                     if isinstance(old, str)]  # fmt: skip
        if not replacing:
            return answers
        for tick, old in replacing:
            logger.info("cancelling job %s: %s is due", old, tick.job_id)
        # Before the new one exists, so that no crash leaves both.
        await self._cancel([old for _, old in replacing])
        await self._fire([tick._replace(overlap="allow") for tick, _ in replacing])
        return answers

    def _report(self, ticks: list[Tick], answers: "list[Fired | str]") -> None:
        for tick, answer in zip(ticks, answers, strict=True):
            if answer == Fired.SKIPPED:
                logger.info("schedule %r: the last job is still open, %s is skipped",
                            tick.name, tick.job_id)  # fmt: skip
            elif answer == Fired.LEFT_OUT:
                logger.warning("schedule %r: missed ticks from %s on are skipped",
                               tick.name, tick.job_id)  # fmt: skip

    async def _declare(self) -> None:
        """Declare the schedules of the code: in full at first, then that it still has them."""
        if clock.monotonic() < self._declare_at:
            return
        declared = self._declared
        now = self._clock.now_ms()
        declarations = [(name, one.encode(), one.next_after(now)) for name, one in declared.items()]
        answers = await self._schedules.declare(declarations, look=self._has_declared)
        if self._has_declared:
            # Only those that Redis has lost: changes of a newer worker stay.
            lost = [one for one, answer in zip(declarations, answers, strict=True)
                    if answer == Declared.ABSENT]  # fmt: skip
            await self._schedules.declare(lost)
        else:
            self._names = tuple(
                name
                for name, answer in zip(declared, answers, strict=True)
                if answer != Declared.TAKEN
            )
            for name in declared.keys() - set(self._names):
                logger.error(
                    "schedule %r of this code is not used: one of that name was created at run "
                    "time; delete that one, or rename this one",
                    name,
                )
            await self._look_for_leftovers(declared)
        self._has_declared = True
        # At random, so that the workers do not all do it at the same moment.
        self._declare_at = clock.monotonic() + DECLARE_AGAIN * random.uniform(0.8, 1.2)

    async def _look_for_leftovers(self, declared: "Mapping[str, Definition]") -> None:
        """Report schedules that only other code has declared, and delete old ones."""
        for state in await self._schedules.all():
            if isinstance(state, UnreadableSchedule):
                continue  # logged when it is due
            if not state.is_code or state.name in declared:
                continue
            if await self._schedules.remove(state.name, None, unseen_ms=LEFTOVER_MS):
                logger.info("schedule %r is deleted: no code has declared it for a week",
                            state.name)  # fmt: skip
                continue
            logger.warning(
                "schedule %r is not in the code of this worker: it runs only while a worker "
                "whose code has it does",
                state.name,
            )
