"""What travels between Redis and the runtime."""

from enum import StrEnum
from typing import NamedTuple


class WaiterMode(StrEnum):
    """What the enqueue script should note about who waits for a job."""

    NOBODY = "0"  #: nobody waits yet
    CALLER = "1"  #: tell the caller's inbox
    NO_RESULT = "2"  #: there will be nothing to wait for


#: A job on its way into a stream, in the order of the enqueue script's arguments: its id,
#: the place of its stream among the queue's (from 1), a WaiterMode, and the envelope. A plain
#: tuple, because bulk makes hundreds of thousands a second.
Submission = tuple[str, int, str, bytes]


class Delivery(NamedTuple):
    """One handing of a job to a worker."""

    stream: int  #: place of its stream among the queue's, from 1
    entry: bytes  #: id of the stream entry: belongs to one worker for ever
    job_id: str
    number: int  #: from 1; with the job id, user code's fencing token
    envelope: bytes
    attempt: int = 1  #: from 1; a run that raised and is retried counts, a lost worker does not
    deaths: int = 0  #: workers that have died with it since the job last had an outcome


#: A job for later, in the order of the delay script's arguments: its id, its lane, a WaiterMode,
#: when it is due ("+" and milliseconds from now, or milliseconds since 1970), the envelope.
DelayedSubmission = tuple[str, str, str, str, bytes]


class RetryRequest(NamedTuple):
    """The end of a delivery whose job is to run again."""

    delivery: Delivery
    delay_ms: int


class Settlement(NamedTuple):
    """The end of a delivery, on its way to Redis."""

    delivery: Delivery
    keep_ms: int  #: how long the outcome is kept; 0 keeps none
    outcome: bytes
    is_dead: bool = False  #: whether a dead letter is kept of it
    kind: str = ""  #: as what it is counted, "<task>|<state>|<bucket>"; empty for not at all
    began: float = 0.0  #: when it was run, or was not to be any more; monotonic
