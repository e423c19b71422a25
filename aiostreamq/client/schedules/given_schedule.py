"""A schedule as a caller describes it: its call, its times and its rules, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from aiostreamq.client.call import Call
from aiostreamq.client.task import Enqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.record import record
from aiostreamq.model.schedules.definition import Definition, Rules, ScheduleRules, timing_of
from aiostreamq.model.schedules.timing import length_ms
from aiostreamq.model.time import After, At

if TYPE_CHECKING:
    from typing import Protocol

    from aiostreamq.client.protocols import CallWriter, QueueHandle
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.schedules.timing import Timing
    from aiostreamq.model.schedules.zones import Zone
    from aiostreamq.model.time import When

    class ScheduleHome(QueueHandle, Protocol):
        """The queue, as schedules need it."""

        def named(self, name: str) -> Enqueuer[..., object]:
            """Return an enqueuer for the task *name*."""
            ...


class ScheduleOptions(ScheduleRules, total=False):
    """The keyword arguments that describe a schedule: arguments of its call, times and rules."""

    args: Sequence[object]  #: the positional arguments, if the call is a task or a name
    kwargs: Mapping[str, object] | None  #: the keyword arguments, likewise
    cron: str | None  #: the times, as a cron expression
    every: "Duration | None"  #: the time from one tick to the next
    tz: "Zone | None"  #: the time zone of *cron*


@record
class Declaration:
    """A schedule whose arguments are checked, but not encoded yet."""

    call: Call[object]
    timing: "Timing"
    rules: Rules

    @classmethod
    def of(
        cls,
        queue: "ScheduleHome",
        call: "Call[object] | Enqueuer[..., object] | str",
        options: ScheduleOptions,
    ) -> "Declaration":
        """Check what describes a schedule of *queue*.

        Raises:
            UsageError: An argument is invalid.
            PayloadError: An argument of the call cannot be sent as JSON.
        """
        rules = Rules.of(_rules_in(options))
        checked = _call_of(queue, call, options)
        # Refuse bad arguments here, and not in the worker.
        write_call(checked.spec, checked.args, checked.kwargs, {})
        return cls(checked, _timing_in(options, rules), rules)

    def definition(self, writer: "CallWriter") -> Definition:
        """Return it as it is stored; *writer* encodes the call.

        Raises:
            UsageError: The arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON, or the call is too long.
        """
        call, using = self.call, self.call.using
        fields = dict(using.fields)
        if isinstance(using.deadline, At):
            fields["deadline"] = using.deadline.ms
        no_result = using.options.result_ttl == 0
        callbacks = using.options if using.has_callbacks else None
        envelope = writer.write(call.spec, call.args, call.kwargs, fields, callbacks)
        return Definition(
            task=call.spec.name,
            timing=self.timing,
            rules=self.rules,
            envelope=envelope.decode(),
            lane=using.options.lane,
            mark=WaiterMode.NO_RESULT if no_result else WaiterMode.NOBODY,
            expires=_delay_ms(using.expires),
            deadline=_delay_ms(using.deadline),
        )


def check_times(options: ScheduleOptions) -> None:
    """Check times and rules before the call is known, as a decorator does.

    Raises:
        UsageError: One of them is invalid.
    """
    _timing_in(options, Rules.of(_rules_in(options)))


def _rules_in(options: ScheduleOptions) -> ScheduleRules:
    """Return all that is not an argument of the call or a time; `Rules.of` refuses the unknown."""
    described = ("args", "kwargs", "cron", "every", "tz")
    rules = {name: value for name, value in options.items() if name not in described}
    return cast("ScheduleRules", rules)


def _timing_in(options: ScheduleOptions, rules: Rules) -> "Timing":
    return timing_of(options.get("cron"), options.get("every"), options.get("tz"), rules.start)


def _call_of(
    queue: "ScheduleHome",
    call: "Call[object] | Enqueuer[..., object] | str",
    options: ScheduleOptions,
) -> Call[object]:
    args, kwargs = options.get("args", ()), options.get("kwargs")
    if isinstance(call, str):
        call = queue.named(call)
    if isinstance(call, Enqueuer):
        call = call.bind(*args, **(kwargs or {}))
    elif args or kwargs:
        raise UsageError("task.bind(...) already has the arguments: leave out args= and kwargs=")
    if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]  # a function
        raise no_task(call)
    using = call.using
    if using.id is not None or using.due is not None:
        raise UsageError(
            "id=, delay= and at= are for a single job, and a schedule enqueues many: leave them out"
        )
    if using.expires is not None and not isinstance(using.expires, After):
        raise UsageError("expires= of a schedule must be a duration, such as '10m'")
    for option, when in (("expires", using.expires), ("deadline", using.deadline)):
        length_ms(option, (_delay_ms(when) or 0) / 1000)
    own = queue.own_spec(call.spec)
    return call if own is call.spec else replace(call, spec=own)


def _delay_ms(when: "When | None") -> int | None:
    """Return the ms of a relative time; None if there is none, or if it is fixed."""
    return when.ms if isinstance(when, After) else None
