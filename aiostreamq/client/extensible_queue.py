"""`ExtensibleQueue`: where an application connects code of its own to a queue."""

from typing import TYPE_CHECKING, TypeVar

from aiostreamq.client.queue_client import QueueClient

if TYPE_CHECKING:
    from contextvars import ContextVar
    from typing import Any

    from aiostreamq.client.middleware import EnqueueMiddleware, Middleware
    from aiostreamq.model.listener_events import Listener
    from aiostreamq.model.totals import TaskTotals

MiddlewareT = TypeVar("MiddlewareT", bound="Middleware")
EnqueueMiddlewareT = TypeVar("EnqueueMiddlewareT", bound="EnqueueMiddleware")
ListenerT = TypeVar("ListenerT", bound="Listener")


class ExtensibleQueue(QueueClient):
    """A queue whose events, contexts and runs an application can observe and shape."""

    def on_event(self, listener: "ListenerT") -> "ListenerT":
        """Call a function with each event of this queue in this process, from now on.

        May be used as a decorator. The function is called in a thread of its own, with one of
        the classes of `aiostreamq.telemetry`. Its exceptions are logged.

        Args:
            listener: The function. Workers of this queue object call it too.

        Returns:
            The function.

        Raises:
            UsageError: It cannot be called, or is a coroutine function.
        """
        self._core.listeners.add(listener)
        return listener

    async def totals(self) -> "tuple[TaskTotals, ...]":
        """Return how many jobs of each task have ended since the queue began, by name.

        These counters never fall, so monitoring can calculate rates. They lag by a tenth of a
        second. Jobs that workers of 0.1.0 ended are not among them.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look_at_totals

        return await look_at_totals(self._core.session().store)

    def middleware(self, function: "MiddlewareT") -> "MiddlewareT":
        """Wrap a function around each run of a job of this queue in this process, from now on.

        To be used as a decorator of `async def f(call, call_next)`. It runs on the event loop of
        the worker, also around tasks in threads and processes. `await call_next()` runs the rest
        and returns its result. The function that was declared first is the outermost.

        The result of the function is the result of the run, and an exception of the function ends
        the run as if the task had raised it. It need not call `call_next`, and may call it once.
        Its time counts towards the timeout of the task.

        Args:
            function: Called with a `RunCall` and `call_next`.

        Returns:
            The function.

        Raises:
            UsageError: It is not async, or takes other arguments.
        """
        self._core.with_hooks().wrap_runs(function)
        return function

    def enqueue_middleware(self, function: "EnqueueMiddlewareT") -> "EnqueueMiddlewareT":
        """Have a function see, change or refuse each job that this process enqueues, from now on.

        To be used as a decorator of `def f(call)`. It is called in the event loop, in the context
        of the code that enqueues, and must not block. The function that was declared first is
        called first. It does not get the ticks of schedules, retries and replays of dead letters.

        Args:
            function: Called with an `EnqueueCall`; returns it, or a changed one from
                `call.using(...)`. The code that enqueues gets the exceptions that it raises.

        Returns:
            The function.

        Raises:
            UsageError: It is async, or takes other arguments.
        """
        self._core.with_hooks().change_calls(function)
        return function

    def carry(self, *variables: "ContextVar[Any]") -> None:
        """Have the values of context variables travel with the jobs of this queue, from now on.

        A value that is set when a job is enqueued is set again when the job runs, in the task and
        in all that it calls, in threads and processes too, and so travels on to the jobs that the
        task enqueues. A variable that is not set does not travel. Producers and workers both
        declare the variables, with the same names.

        Args:
            *variables: The variables. Their values must be JSON: strings, numbers, booleans,
                None, lists and dicts of those.

        Raises:
            UsageError: One is not a context variable, its name is not 1 to 128 printable
                characters, or another variable has its name.
        """
        for variable in variables:
            self._core.with_hooks().carry(variable)
