"""The services of a worker that the running of jobs needs, as one value."""

from typing import TYPE_CHECKING

from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.task import Place
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.worker.listener_events import WorkerListeners
    from aiostreamq.worker.protocols import Outcomes, Reroutes, SuspectGate
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.key_release import KeyRelease
    from aiostreamq.worker.run.pool import Pool


@record
class RunEnvironment:
    """The services around the dispatcher. Its parts take from here what they need, once."""

    queue: "QueueClient"  #: its tasks are looked up as jobs come
    pools: "Mapping[Place, Pool]"  #: the threads and processes
    invoker: "Invoker"  #: calls the functions of jobs
    clock: "ServerClock"  #: the clock that expiry times and deadlines refer to
    settler: "Outcomes"  #: takes the end of each job, and the jobs to be retried
    rerouter: "Reroutes"  #: takes jobs that may not run here
    #: decides when jobs may run that were with workers that died, and when nothing else may start
    suspects: "SuspectGate"
    keys: "KeyRelease"  #: frees keys that are held until a job starts
    is_ending: "Callable[[], bool]"  #: whether the worker is about to end, for any reason
    listeners: "WorkerListeners"  #: take the events of jobs
    logs_jobs: bool = False  #: whether to log the start of each job, and its success
