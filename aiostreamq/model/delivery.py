"""The values that pass between the store and its callers: deliveries and submissions."""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.errors import AioStreamQError
    from aiostreamq.model.callbacks import Callback
    from aiostreamq.model.keys import Spillway
    from aiostreamq.model.metadata import HeldKey


class WaiterMode:
    """Whether a client waits for a job, as the enqueue script notes it.

    Plain strings: the garbage collector would visit each submission that refers to an enum.
    """

    NOBODY: Final = "0"  #: no client waits yet
    CALLER: Final = "1"  #: notify the caller's inbox
    NO_RESULT: Final = "2"  #: the job keeps no result to wait for


#: A job to be added to a stream, in the order of the enqueue script's arguments: its id, the
#: index of its stream among the queue's (from 1), a WaiterMode, and the envelope. A plain tuple,
#: because bulk enqueues create hundreds of thousands a second.
Submission = tuple[str, int, str, bytes]


class UniqueSubmission(NamedTuple):
    """A job that has a key, in the order of the arguments of enqueue_unique.lua.

    Its id, lane and envelope are at the same places as those of a `Submission`, from the front and
    from the back.
    """

    job_id: str
    place: int  #: of its lane among the queue's streams, from 1
    mark: str  #: a WaiterMode
    due: str  #: as that of a DelayedSubmission; empty is now
    rule: str  #: what the key is for, as `wire` of model/unique.py writes it
    digest: str  #: of the key
    #: not an argument: called with the id of the job that holds the key, if another one does;
    #: returns the error for the caller, or None
    on_held: "Callable[[str], AioStreamQError | None]"
    envelope: bytes


class HeldSubmission(NamedTuple):
    """A job of a task that has limits.

    Its id, lane and envelope are at the same places as those of a `Submission`, from the front and
    from the back.
    """

    job_id: str
    place: int  #: of its lane among the queue's streams, from 1; not an argument
    mark: str  #: a WaiterMode
    backlog: str  #: the name of the backlog that it waits in
    costs: str  #: a number for each limit, with spaces between; empty for 1 each
    envelope: bytes


#: The identity of a delivery: the index of its stream among the queue's (from 1), and the id of
#: the entry, which only ever belongs to one worker. It is the first two fields of a Delivery. A
#: plain tuple, because a slice creates it faster than a NamedTuple's constructor.
EntryRef = tuple[int, bytes]


class Delivery(NamedTuple):
    """One delivery of a job to a worker."""

    stream: int  #: index of its stream among the queue's, from 1
    entry: bytes  #: id of the stream entry, which only ever belongs to one worker
    job_id: str
    number: int  #: from 1; together with the job id a fencing token for user code
    envelope: bytes
    attempt: int = 1  #: from 1; a run that raised and is retried counts, a lost worker does not
    deaths: int = 0  #: workers that died while they had the job, since its last outcome
    #: the tokens of the limits that have let it pass, with spaces between; None if none was asked
    permits: bytes | None = None


#: A job for later, in the order of the delay script's arguments: its id, its lane, a WaiterMode,
#: when it is due ("+" and milliseconds from now, or milliseconds since 1970), the envelope.
DelayedSubmission = tuple[str, str, str, str, bytes]


class RetryRequest(NamedTuple):
    """The end of a delivery whose job will run again."""

    delivery: Delivery
    delay_ms: int


class HoldRequest(NamedTuple):
    """The end of a delivery whose job is held again, as a rate is quiet for a while."""

    delivery: Delivery
    rate: str  #: the token of the limit, without a value of its key
    after: float  #: seconds until it may start again
    until_ms: int  #: the same, in ms since 1970 by Redis's clock


class Settlement(NamedTuple):
    """The end of a delivery, on its way to Redis."""

    delivery: Delivery
    keep_ms: int  #: how long the outcome is kept; 0 keeps none
    outcome: bytes
    is_dead: bool = False  #: whether to write a dead letter
    kind: str = ""  #: the counter, "<task>|<state>|<bucket>"; empty is not counted
    began: float = 0.0  #: monotonic time at which the run began, or was found unneeded
    callback: "Callback | None" = None  #: the job to be put into its lane by this end
    key: "HeldKey | None" = None  #: the key that this end frees, unless it is free already


class Wanted(NamedTuple):
    """The next read of an overflow stream, or of parked jobs."""

    place: "Spillway | None"  #: None for parked jobs
    most: int  #: how many jobs
    tasks: tuple[str, ...] = ()  #: whose parked jobs to read
    heard: int = 0  #: how many messages about parked jobs had come by then
