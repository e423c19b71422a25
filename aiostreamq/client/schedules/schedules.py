"""`queue.schedules`: create, change, list and trigger the schedules of a queue."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiostreamq.client.ids import new_job_id
from aiostreamq.client.inherited import INHERITED, Inherited
from aiostreamq.client.job import Job
from aiostreamq.client.schedules.given_schedule import Declaration
from aiostreamq.client.schedules.schedule import Schedule, definition_of, read_all, schedule_of
from aiostreamq.errors import BrokerError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.envelope import inheriting
from aiostreamq.model.keys import checked_name
from aiostreamq.store.enqueue import Submissions

if TYPE_CHECKING:
    from typing import Unpack

    from aiostreamq.client.call import Call
    from aiostreamq.client.schedules.given_schedule import ScheduleHome, ScheduleOptions
    from aiostreamq.client.task import Enqueuer
    from aiostreamq.model.schedules.unreadable import UnreadableSchedule
    from aiostreamq.store.schedule_replies import State
    from aiostreamq.store.schedules import ScheduleStore

logger = get_logger("aiostreamq.schedules")

# How many times a change is tried if other changes get in its way.
TRIES = 5


class Schedules:
    """The schedules of a queue, which enqueue jobs again and again."""

    def __init__(self, queue: "ScheduleHome") -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"<Schedules of {self._queue.name}>"

    async def create(
        self,
        name: str,
        call: "Call[object] | Enqueuer[..., object] | str",
        **options: "Unpack[ScheduleOptions]",
    ) -> Schedule:
        """Create a schedule, which stays in Redis until it is deleted.

        Args:
            name: The schedule's name.
            call: The call to enqueue: `task.bind(...)`, a task, or a task's name. With
                `task.using(...)`, `expires` and `deadline` count from the enqueue of each tick
                (with `jitter`, from when its job may start); a `deadline` given as a datetime is
                the same for all ticks. A schedule does not inherit the deadline of the job that
                creates it.
            args: The positional arguments, if *call* is a task or a name.
            kwargs: The keyword arguments, if *call* is a task or a name.
            cron: The times as minute, hour, day, month and day of the week, optionally with
                seconds before them; or an alias such as "@daily". Give *cron* or *every*.
            every: Seconds (or "30s", or a timedelta) from one tick to the next, counted
                from `start`, or from 1970.
            tz: The time zone of `cron`, such as "Europe/Madrid" or ZoneInfo("Europe/Madrid"), or
                a fixed offset, such as "+02:00" or datetime.timezone.utc; UTC by default.
            **options: The five above, and the rules: `overlap` ("allow", "skip",
                "buffer_one", "cancel_old"), `catch_up` ("none", "latest", "all") with its
                `window`, `jitter`, `start` and `end` (in UTC if they have no time zone),
                `max_runs`.

        Raises:
            UsageError: The name is taken, or an argument is invalid.
            PayloadError: An argument cannot be sent as JSON.
            BrokerError: Redis refused or could not be reached.

        If it is cancelled, the schedule may or may not exist. The same call can be repeated.
        """
        return await self._put(name, Declaration.of(self._queue, call, options), replaces=False)

    async def replace(
        self,
        name: str,
        call: "Call[object] | Enqueuer[..., object] | str",
        **options: "Unpack[ScheduleOptions]",
    ) -> Schedule:
        """Replace the definition of a schedule. Its counters stay, and so does a pause.

        Arguments, errors and cancelling are as of `create`, except that it raises UsageError if
        there is no such schedule.
        """
        return await self._put(name, Declaration.of(self._queue, call, options), replaces=True)

    async def pause(self, name: str) -> bool:
        """Stop enqueueing ticks; return False if the schedule was already paused.

        Jobs that are already enqueued run.

        Raises:
            UsageError: There is no such schedule.
            BrokerError: Redis refused or could not be reached.

        If it is cancelled, the schedule may or may not be paused.
        """
        answer = await self._store().pause(name, self._timeout)
        if answer < 0:
            raise self._unknown(name)
        return answer == 1

    async def resume(self, name: str) -> bool:
        """Resume a schedule; return whether it was paused. Ticks of the pause are skipped.

        Raises and can be cancelled as `pause`.
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
        raise BrokerError(f"schedule {name!r} was changed by others at every try: try again")

    async def delete(self, name: str) -> bool:
        """Delete a schedule; return whether it existed. Its jobs do not change.

        A schedule that code declares comes back within about a minute, unless no worker has
        that code any more.

        Raises:
            BrokerError: Redis refused or could not be reached.

        If it is cancelled, the schedule may or may not be deleted.
        """
        return await self._store().remove(name, self._timeout)

    async def list(self) -> "list[Schedule]":
        """Return all schedules, sorted by name.

        A schedule that is damaged or of a newer release is left out, with a warning in the
        log.

        Raises:
            BrokerError: Redis refused or could not be reached.

        Cancelling is safe.
        """
        paused = await self._paused()
        found: list[Schedule] = []
        async for page in self._store().pages(self._timeout):
            schedules, errors = read_all(page, paused)
            found += schedules
            for error in errors:
                logger.warning("left out of the list of schedules: %s", error)
        return found

    async def get(self, name: str) -> Schedule:
        """Return one schedule.

        Raises:
            UsageError: There is no such schedule, or it cannot be read.
            BrokerError: Redis refused or could not be reached.

        Cancelling is safe.
        """
        return schedule_of(await self._found(name), await self._paused())

    async def trigger(self, name: str) -> "Job[object]":
        """Enqueue a job of the schedule now, even if it is paused, and return the job.

        This is not a tick: it does not count, does not delay ticks, and ignores `overlap`. The
        job's `scheduled_for` is the current time. If a job with a deadline triggers it, the
        deadline applies to the new job too.

        Raises:
            UsageError: There is no such schedule, it cannot be read, or this queue does not
                have its lane.
            BrokerError: Redis refused or could not be reached.

        If it is cancelled, the job may or may not be enqueued.
        """
        _, definition = definition_of(await self._found(name))
        store = self._queue.session().store
        now = await self._now_ms()
        job_id = f"{name}@{new_job_id()}"
        place = store.place_of(definition.lane)
        inherited = INHERITED.get() or Inherited()
        envelope = inheriting(definition.envelope_for(now, now), *inherited)
        await Submissions(store).enqueue(
            [(job_id, place, definition.mark, envelope)], "", self._timeout
        )
        return Job(job_id, self._queue, is_new=None)

    async def _put(self, name: str, declaration: Declaration, *, replaces: bool) -> Schedule:
        called = checked_name("schedule", name)
        session = self._queue.session()
        # Check everything before anything is in Redis.
        definition = declaration.definition(session.enqueuing)
        session.store.place_of(definition.lane)
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
                f"a different schedule {name!r} already exists: use "
                f"queue.schedules.replace(...), or another name"
            )
        return await self.get(name)

    async def _found(self, name: str) -> "State | UnreadableSchedule":
        found = await self._store().get(name, self._timeout)
        if found is None:
            raise self._unknown(name)
        return found

    async def _paused(self) -> Mapping[str, int]:
        # Imported late, so that declaring a schedule does not import asyncio.
        from aiostreamq.store.inspect.snapshot import Snapshots

        return await Snapshots(self._queue.session().store).paused(self._timeout)

    def _unknown(self, name: str) -> UsageError:
        return UsageError(f"queue {self._queue.name!r} has no schedule {name!r}")

    async def _now_ms(self) -> int:
        clock = self._queue.session().store.clock
        await clock.refresh(self._timeout)
        return clock.now_ms()

    def _store(self) -> "ScheduleStore":
        return self._queue.session().schedules

    @property
    def _timeout(self) -> float:
        return self._queue.session().enqueue_timeout
