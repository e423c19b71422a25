"""Catching up: which due ticks of a schedule are fired, and which were missed and are skipped."""

from typing import NamedTuple

from aiostreamq.model.schedules.definition import Definition
from aiostreamq.model.schedules.timing import last_until

# A tick that is fired up to this many ms late counts as on time: workers were restarted, or busy.
# Later ones count as missed, and `catch_up` applies to them.
GRACE_MS = 10_000

# How many missed ticks of one schedule are fired in one step.
CHAIN = 50


class Step(NamedTuple):
    """The decision about one tick."""

    planned: int  #: the tick
    following: int | None  #: the next tick; None is the end of the schedule
    is_fired: bool  #: whether it is enqueued; otherwise it was missed and is skipped


def steps(definition: Definition, planned: int, now: int) -> list[Step]:
    """Decide about the ticks from *planned* on that are due at *now*.

    At most CHAIN ticks are decided at once; call this again for the rest.
    """
    rules = definition.rules
    if now - planned > GRACE_MS:
        start = _first_made_up_for(definition, planned, now)
        if start != planned:
            return [Step(planned, start, is_fired=False)]
    if now - planned > GRACE_MS and rules.catch_up == "latest":
        return [Step(planned, definition.next_after(planned), is_fired=True)]
    chain: list[Step] = []
    at: int | None = planned
    while at is not None and at <= now and len(chain) < CHAIN:
        following = definition.next_after(at)
        chain.append(Step(at, following, is_fired=True))
        at = following
    return chain


def _first_made_up_for(definition: Definition, planned: int, now: int) -> int | None:
    """Return the tick to continue with after an outage, or None if the schedule has ended."""
    rules = definition.rules
    if rules.catch_up == "none":
        return definition.next_after(now)
    horizon = now - rules.window - 1 if rules.window is not None else planned - 1
    if rules.catch_up == "latest":
        until = now if rules.end is None else min(now, rules.end)
        last = last_until(definition.timing, planned, until)
        return last if last > horizon else definition.next_after(now)
    return planned if planned > horizon else definition.next_after(horizon)
