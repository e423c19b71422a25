"""The errors of `enqueue_many` for arguments that are not calls."""

from collections.abc import Iterable, Mapping
from inspect import iscoroutine

from aiostreamq.client.call import Call
from aiostreamq.client.task import Enqueuer
from aiostreamq.errors import UsageError


def check_calls(calls: object) -> None:
    """Refuse an argument that cannot be a collection of calls.

    Raises:
        UsageError: It is a single call, a mapping, or not iterable.
    """
    if isinstance(calls, Call):
        raise UsageError(
            "enqueue_many takes several calls, and this is one: put it in a list, "
            "or use task.enqueue(...)"
        )
    if isinstance(calls, Mapping):
        raise UsageError(
            "enqueue_many takes calls, and this is a mapping: give its values, calls.values()"
        )
    if isinstance(calls, str | bytes) or not isinstance(calls, Iterable):
        close_coroutines([calls])
        raise unbound_call(calls)


def unbound_call(given: object) -> UsageError:
    """Return the error for something that is not a call."""
    what = f"this is of type {type(given).__name__}"
    use = "use task.bind(...) with the arguments of each"
    if iscoroutine(given):
        what = f"this is a coroutine of {given.__qualname__}"
        use = "use task.bind(...) instead of task.enqueue(...)"
    elif isinstance(given, Enqueuer):
        use = "use task.bind(...), with the arguments of the call"
    return UsageError(f"enqueue_many takes calls, and {what}: {use}")


def close_coroutines(given: Iterable[object]) -> None:
    """Close the coroutines among *given*: Python would warn that they were never awaited."""
    for one in given:
        if iscoroutine(one):
            one.close()
