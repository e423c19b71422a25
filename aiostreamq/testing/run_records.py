"""Records of the runs of jobs: what the workers of a queue did while a test had it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from aiostreamq.errors import JobError, UsageError
from aiostreamq.model.job_state import JobState
from aiostreamq.model.listener_events import (
    JobEnded,
    JobHandedBack,
    JobParked,
    JobRetried,
    JobStarted,
    TelemetryEvent,
)
from aiostreamq.model.outcome import Outcome, Unreadable, decode_outcome
from aiostreamq.model.record import record
from aiostreamq.model.verdict import RateLimited
from aiostreamq.store.results import Results

if TYPE_CHECKING:
    from aiostreamq.aio.listeners import EventSink, Listeners
    from aiostreamq.client.core import QueueCore
    from aiostreamq.testing.run_limit import RunLimit

Functions = tuple[Callable[[TelemetryEvent], object], ...]


@record
class RunOutcome:
    """How one run of a job ended.

    A job that fails and is retried has one for each attempt.
    """

    task: str  #: name of the task
    job_id: str
    attempt: int  #: from 1
    #: the state of the job after this run: DELAYED if it will be retried, HELD if it raised
    #: `RateLimited`, QUEUED if it was handed back, PARKED if no worker here knows its task or its
    #: task is paused, else how it ended
    state: JobState
    #: what the task returned; None if the job keeps no result, or if `has_value` is false
    value: object = None
    error: BaseException | None = None  #: what the task raised
    retry_after: float | None = None  #: seconds until the next attempt; None if there is none
    has_value: bool = False  #: whether the value was read: `run_all` and `run_one` do so

    def result(self) -> object:
        """Return what the task returned.

        Raises:
            Exception: The exception that the task raised, if it raised one.
            JobError: The job ended otherwise, or has not ended: it expired, was cancelled, or is
                parked.
            UsageError: The value was not read, as for the runs in `IsolatedQueue.runs`.
        """
        if self.error is not None:
            raise self.error
        if self.state is not JobState.DONE:
            raise Outcome(self.state).error(self.job_id) or JobError()
        if not self.has_value:
            raise UsageError(
                f"the value of this run of task {self.task!r} was not read: write "
                f"`await queue.job(run.job_id)`, or use what run_all() and run_one() return"
            )
        return self.value

    def __str__(self) -> str:
        how = f"{self.state.value}"
        if self.error is not None:
            how += f": {type(self.error).__name__}: {self.error}"
        if self.retry_after is not None:
            how += f", again in {self.retry_after:g} s"
        return f"{self.task} ({self.job_id}, attempt {self.attempt}) {how}"


class RunRecorder:
    """Notes at once, in the event loop, what the workers of a queue do.

    Listeners of the program are still called in their own thread.
    """

    def __init__(self, listeners: "Listeners[TelemetryEvent]") -> None:
        """Begin to record.

        Args:
            listeners: The listeners of the queue. Workers made from now on are recorded.
        """
        self.runs: list[RunOutcome] = []  #: in the order of their ends
        self.running: dict[str, JobStarted] = {}  #: the runs that have not ended, by job id
        self.noticed: Callable[[], None] | None = None  #: called when a run begins or ends
        self.started: Callable[[JobStarted], None] | None = None  #: called when a run begins
        self.limit: RunLimit | None = None  #: counts the runs that begin
        self._listeners = listeners
        self._others: EventSink[TelemetryEvent] = listeners.thread
        listeners.add(self._note)
        self._note_bound = listeners.functions[-1]
        listeners.thread = self

    def forget_worker(self, name: str) -> None:
        """Forget the runs of a worker that was killed."""
        self.running = {job_id: run for job_id, run in self.running.items() if run.worker != name}

    def close(self) -> None:
        """Record no more."""
        self._listeners.thread = self._others
        self._listeners.remove(self._note_bound)

    def put(self, functions: Functions, event: TelemetryEvent) -> None:
        """Note an event, and hand it on to the other functions."""
        others = tuple(one for one in functions if one is not self._note_bound)
        if len(others) < len(functions):
            self._note(event)
        if others:
            self._others.put(others, event)

    async def flush(self, seconds: float) -> None:
        """Wait for the other functions, at most *seconds*."""
        if len(self._listeners.functions) > 1:
            await self._others.flush(seconds)

    def _note(self, event: TelemetryEvent) -> None:
        match event:
            case JobStarted():
                self.running[event.job_id] = event
                if self.limit is not None:
                    self.limit.note_run(event.task)
                if self.started is not None:
                    self.started(event)
            case JobEnded():
                self._end(event, event.state, error=event.error)
            case JobRetried():
                after = event.after_seconds
                is_held = isinstance(event.error, RateLimited)
                state = JobState.HELD if is_held else JobState.DELAYED
                self._end(event, state, error=event.error, retry_after=after)
            case JobHandedBack():
                self._end(event, JobState.QUEUED)
            case JobParked():
                parked = RunOutcome(event.task, event.job_id, 1, JobState.PARKED)
                self.runs.append(parked)
            case _:
                return
        if self.noticed is not None:
            self.noticed()

    def _end(
        self,
        event: JobEnded | JobRetried | JobHandedBack,
        state: JobState,
        *,
        error: BaseException | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.running.pop(event.job_id, None)
        task, job_id, attempt = event.task, event.job_id, event.attempt
        self.runs.append(
            RunOutcome(task, job_id, attempt, state, error=error, retry_after=retry_after)
        )


async def with_values(core: "QueueCore", runs: "list[RunOutcome]") -> list[RunOutcome]:
    """Return the same runs with the values that their tasks returned, if Redis has them."""
    results = Results(core.session().store)
    found: list[RunOutcome] = []
    for run in runs:
        if run.state is JobState.DONE:
            value = _value_in(core, run, await results.job_state(run.job_id))
            run = replace(run, value=value, has_value=True)  # noqa: PLW2901
        found.append(run)
    return found


def _value_in(core: "QueueCore", run: RunOutcome, stored: bytes | None) -> object:
    try:
        outcome = decode_outcome(stored or b"")
    except Unreadable:  # it keeps no result, or the result has expired
        return None
    spec = core.spec_of(run.task)
    if spec is None or spec.signature is None or spec.is_stream:
        return outcome.value
    return spec.signature.restore_result(outcome.value)
