"""`perform`: the part of an isolated queue that runs calls without a worker."""

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from aiostreamq.client.call import Call, StreamCall
from aiostreamq.client.task import P, StreamTask, Task
from aiostreamq.client.task_argument import no_task
from aiostreamq.errors import UsageError
from aiostreamq.testing.performing import perform_call

if TYPE_CHECKING:
    from aiostreamq.queue import Queue

R = TypeVar("R")
C = TypeVar("C")


class Performer:
    """Runs single calls of a queue's tasks."""

    def __init__(self, queue: "Queue") -> None:
        self.queue = queue  #: the application's queue

    @overload
    async def perform(
        self, call: StreamCall[C], /, *, attempt: int = 1, delivery: int | None = None
    ) -> list[C]: ...
    @overload
    async def perform(
        self, call: Call[R], /, *, attempt: int = 1, delivery: int | None = None
    ) -> R: ...
    @overload
    async def perform(
        self, task: StreamTask[..., P, C], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[C]: ...
    @overload
    async def perform(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def perform(
        self, task: Task[P, R] | Call[R], /, *args: P.args, **kwargs: P.kwargs
    ) -> object:
        """Run one call here, without a worker, and send its values through JSON both ways.

        So a test of the function also finds arguments and results that would arrive changed. A
        `def` runs in a thread. There are no retries, and no timeout.

        As in `perform(charge, 7)` or `perform(charge.using(headers=...).bind(7), attempt=3)`.

        Args:
            task: The task, or a call of it. A context that it takes has this queue, and the
                headers and the id of the call. Lifespans and dependencies that it uses are opened
                for this call.
            *args: Its arguments, as for `task.enqueue`; none with a call.
            **kwargs: Its keyword arguments; with a call, only `attempt`, the number of the attempt
                from 1, and `delivery`, that of the delivery, which is *attempt* by default. It is
                higher in a job whose workers died.

        Returns:
            The value as a caller that awaits the job would get it; for a streaming task,
            the list of its chunks.

        Raises:
            Exception: Any that the task raises.
            ValueChanged: An argument or the result would arrive changed.
            PayloadError: An argument or the result cannot be sent as JSON.
            UsageError: The arguments do not fit the task, or a number is invalid.

        Cancelling cancels the task; a `def` runs to its end.
        """
        if isinstance(task, Call):
            attempt, delivery = _numbers(args, cast("dict[str, Any]", kwargs))
            return await perform_call(self.queue, task, attempt, delivery)
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise no_task(task)
        return await perform_call(self.queue, task.bind(*args, **kwargs), 1, 1)


def _numbers(args: tuple[object, ...], given: dict[str, Any]) -> tuple[int, int]:
    """Return the numbers of the attempt and the delivery.

    Raises:
        UsageError: One is invalid, or there are other arguments.
    """
    if args or given.keys() - {"attempt", "delivery"}:
        raise UsageError(
            "perform takes a call with attempt= and delivery= only: give the arguments of the task "
            "to bind(...)"
        )
    attempt = given.get("attempt", 1)
    delivery = given.get("delivery")
    delivery = attempt if delivery is None else delivery
    for name, number in (("attempt", attempt), ("delivery", delivery)):
        if type(number) is not int or number < 1:
            raise UsageError(f"perform: {name} must be an integer from 1, got {number!r}")
    if delivery < attempt:
        raise UsageError(
            f"perform: delivery={delivery} is less than attempt={attempt}, and each attempt is "
            f"another delivery"
        )
    return cast("int", attempt), cast("int", delivery)
