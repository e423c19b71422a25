"""`queue.sync`: the queue for code that does not run in an event loop.

Rules of this file:

- Calls run in the event loop of a session, and the calling thread waits for them. That loop is
  one in the background, which all queues of the process share. A job that runs in a thread of a
  worker on this queue uses the loop and the session of the worker instead.
- The session in the background is beside the session of the program's own event loop. Both may
  be open at once; they share the connector, the tasks and the listeners.
- Nothing here waits for the loop that it was called in: that would block it for ever.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from aiostreamq.aio.batching import BATCH_BYTES
from aiostreamq.aio.loop_thread import BACKGROUND, call_in
from aiostreamq.aio.own_tasks import spawn
from aiostreamq.client.blocking.blocking_job import BlockingJob, handles_of
from aiostreamq.client.blocking.direct_enqueuer import DirectEnqueuer
from aiostreamq.client.current_job import JOB
from aiostreamq.client.job import Job
from aiostreamq.client.not_a_call import check_calls
from aiostreamq.client.results.gathering import gather
from aiostreamq.client.sessions.call_sources import ReadAhead
from aiostreamq.client.task import Enqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.errors import AioStreamQError, QueueFull, UsageError
from aiostreamq.model.options import checked_job_id
from aiostreamq.store.enqueue import ENQUEUE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Literal

    from aiostreamq.client.call import Call
    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.task import P
    from aiostreamq.model.duration import Duration

R = TypeVar("R")
T = TypeVar("T")

# How many calls of `enqueue_many` are taken at a time, in the calling thread: several chunks, so
# that one is encoded while another travels.
TAKEN, TAKEN_BYTES = 4 * ENQUEUE_LIMIT, 4 * BATCH_BYTES


class BlockingQueue:
    """A queue whose methods block the calling thread until they are done.

    It is for scripts, web frameworks with threads, notebooks, and `def` tasks. Any number of
    threads may use it at once, also while the queue is open in an event loop. A process that was
    forked uses its copy with connections of its own.
    """

    def __init__(self, core: "QueueCore") -> None:
        """Prepare; nothing connects yet.

        Args:
            core: The queue, as the event loop of the program uses it.
        """
        self._core = core
        self._beside = core.beside()  # the same, as the loop in the background uses it
        self._direct = DirectEnqueuer(self._beside)

    def __repr__(self) -> str:
        return f"<BlockingQueue {self._core.name}>"

    @overload
    def enqueue(
        self, task: "Enqueuer[P, R]", /, *args: "P.args", **kwargs: "P.kwargs"
    ) -> BlockingJob[R]: ...
    @overload
    def enqueue(self, task: str, /, *args: object, **kwargs: object) -> BlockingJob[object]: ...
    def enqueue(  # pyright: ignore[reportInconsistentOverload]  # P does not match "..."
        self, task: Enqueuer[..., object] | str, /, *args: object, **kwargs: object
    ) -> BlockingJob[object]:
        """Enqueue a call of *task*: a Task, `task.using(...)`, or the name of any task.

        Returns:
            The job. It is in Redis when this returns.

        Raises:
            UsageError: The queue is open in the running event loop of this thread, or gevent has
                replaced the threads of Python; or as for `Task.enqueue`.
            As `Task.enqueue`.

        After a KeyboardInterrupt the job may or may not have been enqueued.
        """
        if isinstance(task, str):
            task = self._core.named(task)
        elif not isinstance(cast("object", task), Enqueuer):
            raise no_task(task)
        call = task.bind(*args, **kwargs)
        core, loop = self._enter()
        call = self._as_enqueued(call)  # in this thread, whose context variables the hooks read
        if core is not self._beside:
            return BlockingJob(call_in(loop, lambda: spawn(_enqueue(core, call))), self)
        job, job_id = self._direct.enqueue(call)
        if job is None:
            job = self._enqueue_in_loop(loop, call, job_id)
            self._direct.connect_soon(loop)
        return BlockingJob(job, self)

    def _enqueue_in_loop(
        self, loop: asyncio.AbstractEventLoop, call: "Call[object]", job_id: str | None
    ) -> Job[object]:
        """Enqueue a call in the background; *job_id* is that of a try that may have succeeded."""
        core, jobs = self._beside, list[Job[object]]()
        if job_id is not None or call.using.id is not None or call.using.needs_time:
            return call_in(loop, lambda: spawn(_enqueue(core, call, job_id)))

        # Without a task in the loop, which costs as much as all else in it.
        def start() -> "asyncio.Future[Any]":
            enqueuing = core.session().enqueuing
            job, entering = enqueuing.put(call.spec, call.using, call.args, call.kwargs)
            jobs.append(job)
            return entering

        call_in(loop, start)
        return jobs[0]

    def enqueue_many(self, calls: "Iterable[Call[R]]") -> list[BlockingJob[R]]:
        """Enqueue many calls of this queue's tasks, made with `task.bind(...)`, in their order.

        The calls are read from *calls* in the calling thread, some thousands or some megabytes at a
        time. The returned jobs are held.

        Raises:
            As `QueueClient.enqueue_many`. The calls before the error are enqueued;
                `QueueFull.enqueued` is their number.
        """
        check_calls(calls)
        source, jobs = iter(calls), list[BlockingJob[R]]()
        ahead = ReadAhead[R](TAKEN, TAKEN_BYTES)
        while some := ahead.fill(source):
            try:
                found = self._call(_enqueue_many, some)
            except QueueFull as error:
                error.enqueued += len(jobs)
                raise
            jobs += (BlockingJob(job, self) for job in found)
        return jobs

    def job(self, job_id: str) -> BlockingJob[object]:
        """Return the handle of the job with this id, from any process. Redis is not asked.

        Raises:
            UsageError: The id is invalid.
        """
        self._beside.sessions.note_use()
        return BlockingJob(Job(checked_job_id(job_id), self._beside, is_new=None), self)

    @overload
    def gather(
        self,
        jobs: "Iterable[BlockingJob[R]]",
        *,
        timeout: "Duration | None" = None,
        return_exceptions: "Literal[False]" = False,
    ) -> list[R]: ...
    @overload
    def gather(
        self,
        jobs: "Iterable[BlockingJob[R]]",
        *,
        timeout: "Duration | None" = None,
        return_exceptions: bool,
    ) -> list[R | AioStreamQError]: ...
    def gather(
        self,
        jobs: "Iterable[BlockingJob[R]]",
        *,
        timeout: "Duration | None" = None,
        return_exceptions: bool = False,
    ) -> "list[R] | list[R | AioStreamQError]":
        """Block until all jobs have ended; return their results in the order of *jobs*.

        Raises:
            UsageError: *jobs* has something that is not a job of this kind.
            As `aiostreamq.gather`.
        """
        handles = handles_of(jobs)

        async def wait(core: "QueueCore") -> "list[Any]":
            own = [job.at(core) for job in handles]
            return await gather(own, timeout=timeout, return_exceptions=return_exceptions)

        return self._call(wait)

    def close(self) -> None:
        """Send what other threads are enqueuing, then close the connections in the background.

        A thread that waits for a result gets QueueUnavailable. The next use opens them again. At
        the end of the program this is done for you.
        """
        loop = BACKGROUND.get().loop
        self._check_loop(loop)
        call_in(loop, lambda: spawn(self._beside.sessions.close_for_all()))
        self._direct.close()  # last: no further connection is opened for a closed session

    def call_job(self, job: Job[R], method: "Callable[[Job[R]], Coroutine[Any, Any, T]]") -> T:
        """Call *method* with *job* in an event loop, and wait for it. For the package itself."""

        def call(core: "QueueCore") -> "Coroutine[Any, Any, T]":
            return method(job.at(core))

        return self._call(call)

    def call(self, function: "Callable[[QueueCore], Coroutine[Any, Any, T]]") -> T:
        """Call *function* in an event loop, and wait for it. For the package itself."""
        return self._call(function)

    async def call_from_loop(self, function: "Callable[[QueueCore], Coroutine[Any, Any, T]]") -> T:
        """Call *function* from any event loop, however short its life. For the package itself.

        It runs in the loop of the caller if the queue is open there, as in a worker, else in the
        loop in the background. Cancelling cancels it.
        """
        if self._core.sessions.is_open_in(asyncio.get_running_loop()):
            return await function(self._core)

        async def call() -> T:
            _lend_nothing()
            return await function(self._beside)

        background = BACKGROUND.get()
        background.closables.add(self._beside.sessions)
        running = asyncio.run_coroutine_threadsafe(call(), background.loop)
        return await asyncio.wrap_future(running)

    async def enqueue_from_loop(self, call: "Call[object]") -> Job[object]:
        """Enqueue a call from any event loop, as `call_from_loop`. For the package itself.

        Raises:
            As `Task.enqueue`.
        """
        call = self._as_enqueued(call)
        return await self.call_from_loop(lambda core: _enqueue(core, call))

    def _as_enqueued(self, call: "Call[object]") -> "Call[object]":
        """Return a call of this queue's own task, as the hooks have changed it.

        Raises:
            UsageError: The task belongs to another queue.
            Exception: Any by which enqueue middleware refuses the call.
        """
        own, hooks = self._core.own_spec(call.spec), self._core.hooks
        if hooks is None:
            return call if own is call.spec else replace(call, spec=own)
        using = hooks.applied(own, call.using, call.args, call.kwargs)
        return replace(call, spec=own, using=using)

    def _call(self, function: "Callable[..., Coroutine[Any, Any, T]]", *args: object) -> T:
        core, loop = self._enter()

        def start() -> "asyncio.Future[T]":
            if core is self._beside:
                _lend_nothing()
            return spawn(function(core, *args))

        return call_in(loop, start)

    def _enter(self) -> "tuple[QueueCore, asyncio.AbstractEventLoop]":
        """Return the session to use in this thread, as the core that has it, and its event loop.

        Raises:
            UsageError: It would wait for the event loop that runs in this thread.
        """
        if (job := JOB.get()) is not None:
            *_, lender, _ = job
            loop = self._core.sessions.worker_loop
            if loop is not None and lender is not None and lender.queue == self._core.name:
                self._check_loop(loop)
                return self._core, loop
        background = BACKGROUND.get()
        self._check_loop(background.loop)
        background.closables.add(self._beside.sessions)
        return self._beside, background.loop

    def _check_loop(self, loop: "asyncio.AbstractEventLoop") -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if running is loop or self._core.sessions.is_open_in(running):
            raise UsageError(
                f"queue.sync would block this event loop, in which queue {self._core.name!r} is "
                f"open: use `await queue.enqueue(...)` and `await job` here, or call it in a "
                f"thread, as with asyncio.to_thread"
            )


async def _enqueue(
    core: "QueueCore", call: "Call[object]", job_id: str | None = None
) -> Job[object]:
    """Enqueue a call; *job_id* is that of a try of the same call that may have succeeded."""
    session = core.session()
    using = call.using if job_id is None else replace(call.using, id=job_id)
    if using.needs_time:
        await session.enqueuing.know_time()
    job, entering = session.enqueuing.put(call.spec, using, call.args, call.kwargs)
    id_was = await entering
    if using.id is not None:
        job.note_id(session.waiter, id_was)
    if job_id is not None:
        job.is_new = True  # the id was not the caller's: if it was taken, then by that try
    return job


async def _enqueue_many(core: "QueueCore", calls: "list[Call[R]]") -> list[Job[R]]:
    return await core.session().enqueuing.submit_many(calls)


def _lend_nothing() -> None:
    """Make the job that calls, if any, keep its slot: only the loop of its worker may lend it."""
    if (job := JOB.get()) is not None and job[4] is not None:
        JOB.set((*job[:4], None, None))
