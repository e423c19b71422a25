"""`ExtensibleQueue`: where an application connects code of its own to a queue."""

from typing import TYPE_CHECKING, TypeVar

from aiostreamq.client.queue_client import QueueClient

if TYPE_CHECKING:
    from contextvars import ContextVar
    from typing import Any

    from aiostreamq.model.listener_events import Listener

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
            UsageError: One is not a context variable, or another variable has its name.
        """
        for variable in variables:
            self._core.with_hooks().carry(variable)
