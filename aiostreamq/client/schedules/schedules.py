"""The schedules of a queue, as users hold them: `queue.schedules`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiostreamq.client.context import DEADLINE
from aiostreamq.client.ids import new_job_id
from aiostreamq.client.schedules.schedule import Schedule, definition_of, read_all, schedule_of
from aiostreamq.client.task import Call, Enqueuer, no_task
from aiostreamq.errors import BrokerError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.envelope import bounded
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.keys import checked_name
from aiostreamq.model.schedules.definition import (
    Definition,
    Rules,
    ScheduleRules,
    length_ms,
    timing_of,
)
from aiostreamq.store.enqueue import Submissions

if TYPE_CHECKING:
    from typing import Unpack

    from aiostreamq.client.job import Job
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.schedules.cron import Timing
    from aiostreamq.model.schedules.unreadable import UnreadableSchedule
    from aiostreamq.model.schedules.zones import Zone
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.schedules import ScheduleStore, State

logger = get_logger("aiostreamq.schedules")

# How often a change is tried that meets another one.
TRIES = 5


@dataclass(frozen=True, slots=True)
class Declaration:
    """A schedule that code declares; its arguments are written when a worker starts."""

    call: Call[object]
    timing: "Timing"
    rules: Rules


class Schedules:
    """The schedules of a queue: what is enqueued again and again."""

    def __init__(self, queue: "QueueClient") -> None:
        self._queue = queue
        self._declared: dict[str, Declaration] = {}

    def __repr__(self) -> str:
        return f"<Schedules of {self._queue.name}>"

    async def create(
        self,
        name: str,
        call: "Call[object] | Enqueuer[..., object] | str",
        *,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        cron: str | None = None,
        every: "Duration | None" = None,
        tz: "Zone | None" = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> Schedule:
        """Make a schedule, kept in Redis until it is deleted.

        Args:
            name: Of the schedule.
            call: What is enqueued: `task.bind(...)`, a task, or a task's name. Of
                `task.using(...)`, `expires` and `deadline` count from when each tick is enqueued
                (with `jitter`, from when its job may start); a `deadline` that is a datetime is
                the same for all. The deadline of a job that makes a schedule is not handed on.
            args: For a task or a name: its positional arguments.
            kwargs: For a task or a name: the others.
            cron: When, as minute, hour, day, month and day of the week; with seconds
                before them; or an alias such as "@daily".
            every: Or seconds (or "30s", or a timedelta) from one tick to the next, counted
                from `start`, or from 1970.
            tz: The time zone of `cron`, such as "Europe/Madrid" or ZoneInfo("Europe/Madrid"), or
                a fixed offset, such as "+02:00" or datetime.timezone.utc; UTC by default.
            **rules: `overlap` ("allow", "skip", "buffer_one", "cancel_old"), `catch_up`
                ("none", "latest", "all") with its `window`, `jitter`, `start` and `end` (meant
                in UTC where they have no zone), `max_runs`.

        Raises:
            UsageError: The name is taken, or something cannot be meant.
            PayloadError: An argument cannot travel.
            BrokerError: Redis refused or could not be reached.

        Cancelling leaves open whether it is made. The same call again says so.
        """
        declaration = self._declaration(call, args, kwargs, cron, every, tz, Rules.of(rules))
        await self._put(name, declaration, replaces=False)
        return await self.get(name)

    async def replace(
        self,
        name: str,
        call: "Call[object] | Enqueuer[..., object] | str",
        *,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        cron: str | None = None,
        every: "Duration | None" = None,
        tz: "Zone | None" = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> Schedule:
        """Have a schedule be another from now on. What was counted stays, and so does a pause.

        Args, raises and cancelling: as `create`; UsageError where there is none of the name.
        """
        declaration = self._declaration(call, args, kwargs, cron, every, tz, Rules.of(rules))
        await self._put(name, declaration, replaces=True)
        return await self.get(name)

    async def pause(self, name: str) -> bool:
        """Enqueue no more ticks; True where it was not paused before.

        Jobs that are enqueued already run.

        Raises:
            UsageError: There is no such schedule.
            BrokerError: Redis refused or could not be reached.

        Cancelling leaves open whether it is paused.
        """
        answer = await self._store().pause(name, self._timeout)
        if answer < 0:
            raise self._unknown(name)
        return answer == 1

    async def resume(self, name: str) -> bool:
        """Go on; True where it was paused. What was due meanwhile is left out.

        Raises, and is cancelled, as `pause`.
        """
        for _ in range(TRIES):
            state, definition = definition_of(await self._found(name))
            is_over = definition.rules.are_used_up(state.runs)
            due = None if is_over else definition.next_after(await self._now_ms())
            answer = await self._store().resume(name, state.rev, due, self._timeout)
            if answer == -1:
                raise self._unknown(name)
            if answer >= 0:
                return answer == 1
        raise BrokerError(f"schedule {name!r} is changed all the time: try again")

    async def delete(self, name: str) -> bool:
        """Forget a schedule; True where there was one. Its jobs are left as they are.

        One that code declares comes back within about a minute, unless that code is gone.

        Raises:
            BrokerError: Redis refused or could not be reached.

        Cancelling leaves open whether it is deleted.
        """
        return await self._store().remove(name, self._timeout)

    async def list(self) -> "list[Schedule]":
        """Return all schedules, by their names.

        One that can not be read, as it is damaged or of a newer release, is left out, and
        a warning in the log says which and why.

        Raises:
            BrokerError: Redis refused or could not be reached.

        Cancelling is safe.
        """
        found, paused = await self._store().all(self._timeout), await self._paused()
        schedules, errors = read_all(found, paused)
        for error in errors:
            logger.warning("left out of the list: %s", error)
        return schedules

    async def get(self, name: str) -> Schedule:
        """Return one schedule.

        Raises:
            UsageError: There is no such schedule, or it can not be read.
            BrokerError: Redis refused or could not be reached.

        Cancelling is safe.
        """
        return schedule_of(await self._found(name), await self._paused())

    async def trigger(self, name: str) -> "Job[object]":
        """Enqueue a job of the schedule now, paused or not, and return it.

        It is no tick: it is not counted, delays no tick, and knows no overlap. Its
        `scheduled_for` is the present. Triggered by a job that has a deadline, it has that too.

        Raises:
            UsageError: There is no such schedule, it can not be read, or the queue here has
                not got its lane.
            BrokerError: Redis refused or could not be reached.

        Cancelling leaves open whether it is enqueued.
        """
        _, definition = definition_of(await self._found(name))
        broker = self._queue.session().broker
        now = await self._now_ms()
        job_id = f"{name}@{new_job_id()}"
        place = broker.place_of(definition.lane)
        envelope = bounded(definition.envelope_for(now, now), DEADLINE.get())
        await Submissions(broker).enqueue(
            [(job_id, place, definition.mark, envelope)], "", self._timeout
        )
        return self._queue.job(job_id)

    def declare(
        self,
        name: str | None,
        task: "Enqueuer[..., object] | Call[object]",
        args: Sequence[object],
        kwargs: Mapping[str, object] | None,
        *,
        cron: str | None = None,
        every: "Duration | None" = None,
        tz: "Zone | None" = None,
        rules: ScheduleRules,
    ) -> None:
        """Note a schedule of the code, for the workers that run it.

        Raises:
            UsageError: The name is taken in this code, or something cannot be meant.
        """
        called = checked_name("schedule", name or task.spec.name)
        if called in self._declared and not self._is_replaced(self._declared[called].call.spec):
            raise UsageError(
                f"queue {self._queue.name!r} has a schedule {called!r} already: give one of them "
                f"another name with name='...'"
            )
        settled = Rules.of(rules)
        self._declared[called] = self._declaration(task, args, kwargs, cron, every, tz, settled)

    def check(
        self,
        *,
        cron: str | None = None,
        every: "Duration | None" = None,
        tz: "Zone | None" = None,
        rules: ScheduleRules,
    ) -> None:
        """Check what a decorator says before it gets its function.

        Raises:
            UsageError: Something is invalid.
        """
        timing_of(cron, every, tz, Rules.of(rules).start)

    def _is_replaced(self, spec: "TaskSpec") -> bool:
        """Whether the task of *spec* was defined again since: its schedule is, too, then."""
        task = self._queue.tasks.get(spec.name)
        return spec.function is not None and task is not None and task.spec is not spec

    @property
    def declared(self) -> dict[str, Definition]:
        """The schedules of the code, with their arguments written."""
        return {name: self._definition(one) for name, one in self._declared.items()}

    def _declaration(
        self,
        call: "Call[object] | Enqueuer[..., object] | str",
        args: Sequence[object],
        kwargs: Mapping[str, object] | None,
        cron: str | None,
        every: "Duration | None",
        tz: "Zone | None",
        rules: Rules,
    ) -> Declaration:
        if isinstance(call, str):
            call = self._queue.named(call)
        if isinstance(call, Enqueuer):
            call = call.bind(*args, **(kwargs or {}))
        elif args or kwargs:
            raise UsageError("the arguments are in task.bind(...) already: leave args= out")
        if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]  # a function
            raise no_task(call)
        using = call.using
        if using.id is not None or using.due is not None:
            raise UsageError("id=, delay= and at= are for one job: a schedule makes many")
        if using.expires is not None and not using.expires.startswith("+"):
            raise UsageError("expires= of a schedule is a length of time, such as '10m'")
        for option, word in (("expires", using.expires), ("deadline", using.deadline)):
            length_ms(option, (_length(word) or 0) / 1000)
        write_call(call.spec, call.args, call.kwargs, {})  # refused here, and not by the worker
        return Declaration(call, timing_of(cron, every, tz, rules.start), rules)

    def _definition(self, declaration: Declaration) -> Definition:
        call = declaration.call
        options, deadline = call.using.options, call.using.deadline
        told = dict(call.using.told)
        if deadline is not None and not deadline.startswith("+"):
            told["deadline"] = int(deadline)
        envelope = self._queue.session().write(call.spec, call.args, call.kwargs, told)
        return Definition(
            task=call.spec.name,
            timing=declaration.timing,
            rules=declaration.rules,
            envelope=envelope.decode(),
            lane=options.lane,
            mark=WaiterMode.NO_RESULT if options.result_ttl == 0 else WaiterMode.NOBODY,
            expires=_length(call.using.expires),
            deadline=_length(deadline),
        )

    async def _put(self, name: str, declaration: Declaration, *, replaces: bool) -> None:
        called = checked_name("schedule", name)
        session = self._queue.session()
        # All that can be refused is, before anything is in Redis.
        definition = self._definition(declaration)
        session.broker.place_of(definition.lane)
        await session.open()
        answer = await self._store().put(
            called,
            definition.encode(),
            definition.next_after(await self._now_ms()),
            self._timeout,
            replace=replaces,
        )
        if answer == -1:
            raise UsageError(
                f"schedule {name!r} is declared in code: change it there, or delete it"
            )
        if answer == 0 and replaces:
            raise self._unknown(name)
        if answer == 0:
            raise UsageError(
                f"there is a schedule {name!r} already, and it is another: use "
                f"queue.schedules.replace(...), or another name"
            )

    async def _found(self, name: str) -> "State | UnreadableSchedule":
        found = await self._store().get(name, self._timeout)
        if found is None:
            raise self._unknown(name)
        return found

    async def _paused(self) -> Mapping[str, int]:
        # Here, so that to declare a schedule imports nothing that can wait.
        from aiostreamq.store.inspect.snapshot import Snapshots

        return await Snapshots(self._queue.session().broker).paused(self._timeout)

    def _unknown(self, name: str) -> UsageError:
        return UsageError(f"queue {self._queue.name!r} has no schedule {name!r}")

    async def _now_ms(self) -> int:
        clock = self._queue.session().broker.clock
        await clock.refresh(self._timeout)
        return clock.now_ms()

    def _store(self) -> "ScheduleStore":
        return self._queue.session().schedules

    @property
    def _timeout(self) -> float:
        return self._queue.session().enqueue_timeout


def _length(word: str | None) -> int | None:
    """The ms of a length of time; None where *word* is none, or a time."""
    return int(word) if word is not None and word.startswith("+") else None
