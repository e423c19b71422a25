"""The callbacks of a job: calls that are enqueued when it ends."""

from inspect import iscoroutine
from typing import TYPE_CHECKING, Final, cast

from aiostreamq.client.call import Call
from aiostreamq.errors import UsageError
from aiostreamq.model.callbacks import FIELDS
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.metadata import NO_HEADERS, joined_headers
from aiostreamq.model.values.masking import lists_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from aiostreamq.model.options import Options
    from aiostreamq.model.task import TaskSpec

    class CallbackHome(Protocol):
        """The queue, as callbacks need it."""

        def own_spec(self, spec: TaskSpec) -> TaskSpec:
            """Return the spec of the same task in this queue, or raise UsageError."""
            ...


# Options of a job that say when it is enqueued or runs: a callback is enqueued by the end of its
# parent, at a time that is unknown before.
_TIMES: Final = {"id": "id", "due": "delay", "expires": "expires", "deadline": "deadline"}


def check_callbacks(options: "Options", home: "CallbackHome | None") -> None:
    """Check the callbacks among *options*, with their arguments.

    Args:
        options: The options of a job or of a task.
        home: Its queue; None if that is not known yet.

    Raises:
        UsageError: One is not a call of a task of this queue, has an option that a callback cannot
            have, or arguments that do not fit.
        PayloadError: An argument cannot be sent as JSON.
    """
    for option, call in _calls_in(options):
        spec = call.spec if home is None else home.own_spec(call.spec)
        write_call(spec, call.args, call.kwargs, {})
        check_callbacks(call.using.options, home)
        for name, shown in _TIMES.items():
            if getattr(call.using, name) is not None:
                raise UsageError(
                    f"{option}: task {spec.name!r} has {shown}=..., which a callback cannot have: "
                    f"it is enqueued when its job ends. Leave id, delay, at, expires and deadline "
                    f"out"
                )


def add_callbacks(
    fields: "dict[str, object]",
    options: "Options",
    place_of: "Callable[[str], int]",
    home: "CallbackHome",
) -> None:
    """Add the callbacks among *options* to the envelope fields of their job.

    They get the headers and the carried values of the job. They do not get its deadline: it may be
    over when they begin.

    Args:
        fields: The fields; they are changed.
        options: The options of the job.
        place_of: Returns the place of a lane, and raises UsageError if it is unknown.
        home: The queue.

    Raises:
        UsageError: A call does not fit, is of another queue, or for an unknown lane.
        PayloadError: An argument cannot be sent as JSON.
    """
    secrets: list[str] = []
    for option, call in _calls_in(options):
        place_of(call.using.options.lane)
        written = fields[option] = _written(call, fields, place_of, home)
        if lists_secrets(written["job"].encode()):
            secrets.append(f"/{option}/job")
    if secrets:
        fields["secrets"] = secrets


def _written(
    call: "Call[object]",
    parent: "Mapping[str, object]",
    place_of: "Callable[[str], int]",
    home: "CallbackHome",
) -> "dict[str, str]":
    spec, options = home.own_spec(call.spec), call.using.options
    fields = dict(call.using.fields)
    if "headers" in parent:
        inherited = cast("Mapping[str, str]", parent.get("headers", NO_HEADERS))
        fields["headers"] = joined_headers(inherited, options.headers)
    if "carried" in parent:
        fields["carried"] = parent["carried"]
    add_callbacks(fields, options, place_of, home)
    mark = WaiterMode.NO_RESULT if options.result_ttl == 0 else WaiterMode.NOBODY
    job = write_call(spec, call.args, call.kwargs, fields).decode()
    return {"task": spec.name, "lane": options.lane, "mark": mark, "job": job}


def _calls_in(options: "Options") -> "list[tuple[str, Call[object]]]":
    """Return the callbacks among *options*, by option.

    Raises:
        UsageError: One is not a call.
    """
    found: list[tuple[str, Call[object]]] = []
    for option in FIELDS:
        given: object = getattr(options, option)
        if given is None:
            continue
        if not isinstance(given, Call):
            raise _no_call(option, given)
        found.append((option, cast("Call[object]", given)))
    return found


def _no_call(option: str, given: object) -> UsageError:
    if iscoroutine(given):
        given.close()  # Python would warn that it was never awaited
    what = "a task without its arguments" if hasattr(given, "bind") else f"{given!r}"
    return UsageError(
        f"{option} takes a call of a task, got {what}: use {option}=task.bind(...), or "
        f"queue.named('...').bind(...)"
    )
