"""Single enqueues by the calling thread itself, over a connection without an event loop.

A loop in another thread costs each call two switches between threads, and several turns of the
loop: some five times the processor time that the enqueue itself takes. So the usual enqueue of a
single job goes this way, if a connection is free. All else takes the way through the loop, which
handles everything: many threads at the same time, jobs for later, lanes with bounds, durability,
TLS, a Redis that is away. So does a job whose direct enqueue failed: with the same id, so that it
is there once, whether or not the first try succeeded.

There are no locks: taking a connection from a list and giving it back are atomic, and a process
that is forked would inherit a lock as it is.
"""

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.client.ids import new_job_id
from aiostreamq.client.job import Job
from aiostreamq.client.sessions.envelope_fields import fields_of
from aiostreamq.errors import BrokerError
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.listener_events import JobEnqueued
from aiostreamq.store.connection.connector import REPLY_TIMEOUT
from aiostreamq.store.connection.direct_link import DirectLink
from aiostreamq.store.enqueue import Submissions

if TYPE_CHECKING:
    from aiostreamq.client.call import Call
    from aiostreamq.client.core import QueueCore
    from aiostreamq.store.queue import QueueStore

# Connections for threads. With more threads at once, the loop is better: their calls share round
# trips there.
MOST = 4

# Bytes. A payload that is longer may be on its way for long, and the loop watches its progress.
LONGEST = 64 * 1024


class Attempt(NamedTuple):
    """The end of a direct enqueue."""

    job: Job[object] | None  #: the job, if it is in Redis
    job_id: str | None  #: otherwise its id, if it may be in Redis


#: The call must take the way through the loop, and is not in Redis.
NOT_TRIED = Attempt(None, None)


class _Connection(NamedTuple):
    """A connection, and the store that it leads to."""

    link: DirectLink
    store: "QueueStore"
    submissions: Submissions


class DirectEnqueuer:
    """Enqueues single calls of one queue in the calling thread. All methods are thread-safe."""

    def __init__(self, core: "QueueCore") -> None:
        self._core = core
        policy = core.policy
        #: whether its calls may go this way at all
        self._is_possible = policy.durability == "memory" and not policy.is_bounded
        self._max_payload = min(LONGEST, policy.max_payload)
        self._reply_timeout = min(REPLY_TIMEOUT, max(1.0, policy.enqueue_timeout))
        self._process = os.getpid()
        self._idle: list[_Connection] = []
        self._open: set[DirectLink] = set()  # those in use too
        self._connecting: OwnTask[None] | None = None
        self._inherited: list[object] = []  # from the parent, kept so that nothing is collected

    def enqueue(self, call: "Call[object]") -> Attempt:
        """Enqueue *call*, if it is one for this way, and a connection is free.

        Its task must be this queue's own.

        Raises:
            UsageError: The arguments do not fit the task, or its lane is unknown.
            PayloadError: An argument cannot be sent as JSON.
        """
        if not self._idle or self._process != os.getpid() or not self._fits(call):
            return NOT_TRIED
        try:
            connection = self._idle.pop()
        except IndexError:  # another thread was faster
            return NOT_TRIED
        is_sound = True
        try:
            options = call.using.options
            place = connection.store.place_of(options.lane)
            fields = fields_of(call.using, connection.store, self._core)
            envelope = write_call(call.spec, call.args, call.kwargs, fields)
            if len(envelope) > self._max_payload:
                return NOT_TRIED
            job_id, keeps_result = new_job_id(), options.result_ttl != 0
            mark = WaiterMode.NOBODY if keeps_result else WaiterMode.NO_RESULT
            command = connection.submissions.command((job_id, place, mark, envelope))
            is_sound = False  # until the reply is here: a KeyboardInterrupt may come first
            try:
                connection.link.call(command)
            except BrokerError:
                return Attempt(None, job_id)
            is_sound = True
        finally:
            self._give_back(connection, is_sound=is_sound)
        listeners = self._core.listeners
        if listeners.is_heard:
            listeners.emit(JobEnqueued(self._core.name, call.spec.name, job_id, options.lane))
        return Attempt(Job(job_id, self._core, keeps_result=keeps_result), None)

    @staticmethod
    def _fits(call: "Call[object]") -> bool:
        using = call.using
        return (
            using.id is using.due is using.expires is using.deadline is None
            and using.options.unique is None
            and not using.options.limits
            and using.options.durability in {None, "memory"}
        )

    def _give_back(self, connection: _Connection, *, is_sound: bool) -> None:
        if is_sound and connection.link in self._open:  # not closed since
            self._idle.append(connection)
        else:
            self._open.discard(connection.link)
            connection.link.close()

    def connect_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open a further connection if there may be more; call it when *loop* has enqueued."""
        if self._process != os.getpid():
            self._inherited += (self._idle, self._open, self._connecting)
            self._process, self._idle, self._open = os.getpid(), [], set()
            self._connecting = None
        if self._is_possible and self._connecting is None and len(self._open) < MOST:
            loop.call_soon_threadsafe(self._begin_to_connect)

    def _begin_to_connect(self) -> None:
        if self._connecting is None:
            self._connecting = spawn(self._connect(), "aiostreamq:sync")

    async def _connect(self) -> None:
        try:
            store = self._core.session().store
            taken = (await store.connector.open_link("sync")).take_out()
            if taken is None:
                self._is_possible = False
            elif self._core.sessions.is_open_in(asyncio.get_running_loop()):
                connection = _Connection(
                    DirectLink(taken, self._reply_timeout), store, Submissions(store)
                )
                self._open.add(connection.link)
                self._idle.append(connection)
            else:
                taken.close()  # the queue was closed
        except BrokerError:
            pass  # it is opened after the next call that the loop has enqueued
        finally:
            self._connecting = None

    def close(self) -> None:
        """Close the connections: those in use after the calls that are on them."""
        self._open.clear()
        while self._idle:
            self._idle.pop().link.close()
