"""What a running task can know about itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiostreamq.client.producer import Producer


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to a task that has a parameter annotated with this class.

    Together `job_id` and `delivery` name one run for ever: use them as a fencing
    token, or `job_id` alone as an idempotency key, towards other systems.
    """

    job_id: str  #: id of the job
    task: str  #: name of the task
    attempt: int  #: number of this attempt, from 1: runs that raised and were retried count
    delivery: int  #: number of this delivery, from 1: each run of the job has a higher one
    queue: "Producer"  #: the queue the job came from, to enqueue further jobs
    worker: str  #: name of the worker that runs it
