"""The ticks of a schedule that is due.

A module of its own, which the ticker loads with the first schedule that it meets: with cronsim and
time zones it takes half a megabyte of a worker.
"""

from typing import TYPE_CHECKING

from aiostreamq.model.schedules.catch_up import Step, steps
from aiostreamq.model.schedules.definition import Definition, job_id
from aiostreamq.store.schedules import Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiostreamq.store.schedule_replies import Due


def ticks_of(due: "Due", definition: Definition, now: int) -> "Iterator[Tick]":
    """Yield the ticks of a schedule for the script; *now* is Redis's time in ms."""
    if due.held is not None and not due.last_lives:
        yield _tick(due, definition, due.at, Step(due.held, due.at, is_fired=True), now)
        return
    at = due.at
    if at is None or at > now:
        return
    for step in steps(definition, at, now):
        yield _tick(due, definition, at, step, now)
        at = step.following


def _tick(due: "Due", definition: Definition, at: int | None, step: Step, now: int) -> Tick:
    rules = definition.rules
    delay = definition.delay(due.name, step.planned)
    start = step.planned + delay if delay and step.planned + delay > now else 0
    return Tick(
        due.name, due.rev, at, due.held, step.following,
        step.planned if step.is_fired else None,
        job_id(due.name, step.planned), definition.lane, definition.mark, start,
        rules.overlap, rules.max_runs or 0,
        definition.envelope_for(step.planned, max(now, start)),
    )  # fmt: skip
