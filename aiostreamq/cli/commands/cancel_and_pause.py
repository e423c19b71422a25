"""`aiostreamq jobs cancel`, `aiostreamq pause` and `aiostreamq resume`.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.cli.arguments import add_value, duration
from aiostreamq.cli.connect import (
    add_json,
    add_target,
    ask,
    hint_at_task,
    pause_line,
    print_json,
    queue_of,
)
from aiostreamq.cli.output import complain, say
from aiostreamq.errors import JobNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiostreamq.model.duration import Duration
    from aiostreamq.model.outcome import JobState
    from aiostreamq.queue import Queue

T = TypeVar("T")

# Of jobs that have not ended.
STATES = ("delayed", "parked", "queued", "running")


def add_cancel(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the action to those of `aiostreamq jobs`."""
    cancel = add_parser(
        "cancel", help="cancel jobs", description="Cancel jobs, by their ids or by filters."
    )
    add_target(cancel, url)
    cancel.add_argument("ids", nargs="*", metavar="id", help="of jobs")
    cancel.add_argument("--task", help="only of this task")
    longer = "only if they wait or run for longer, as in 1h"
    add_value(cancel, "--older-than", duration, longer, metavar="TIME")
    cancel.add_argument(
        "--state", action="append", choices=STATES, help="only in this state; can be given again"
    )
    cancel.add_argument("--all", action="store_true", help="all that have not ended")
    add_json(cancel, "one object an id; of filters one object, with how many of each state")


def add_pause(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`."""
    pause = add_parser(
        "pause",
        help="have a task or a lane wait",
        description="Have a task or a lane wait; without either, list what is paused.",
    )
    add_target(pause, url)
    _add_what(pause)
    pause.add_argument(
        "--until",
        metavar="WHEN",
        help="go on by itself after this time, as in 30m, or at a moment with its offset, "
        "as in 2030-01-31T09:00:00+01:00",
    )
    add_json(pause, "one object for each that is paused")


def add_resume(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`."""
    resume = add_parser(
        "resume", help="let it go on", description="Let a paused task or lane go on."
    )
    add_target(resume, url)
    _add_what(resume)
    add_json(resume, "one object")


def cancel(told: argparse.Namespace) -> int:
    """Cancel what was *told* on the command line; returns the exit code."""
    is_filtered = told.all or _has_filter(told)
    if bool(told.ids) == is_filtered:
        raise UsageError("it is not said which jobs are meant: give ids, or filters, or --all")
    return _cancel(told) if told.ids else _cancel_many(told)


def _has_filter(told: argparse.Namespace) -> bool:
    return bool(told.task or told.state) or told.older_than is not None


def _cancel(told: argparse.Namespace) -> int:
    async def cancel(queue: "Queue") -> "list[JobState | None]":
        found: list[JobState | None] = []
        for job_id in told.ids:
            try:
                found.append(await queue.job(job_id).cancel())
            except JobNotFound:
                found.append(None)
        return found

    states = ask(queue_of(told), cancel)
    for job_id, state in zip(told.ids, states, strict=True):
        if told.json:
            print_json({"id": job_id, "state": state})
        elif state is None:
            complain(f"{job_id}: there is no such job")
        elif state in STATES:
            say(f"{job_id}: cancelled, was {state}")
        else:
            say(f"{job_id}: had ended, {state}")
    return 1 if None in states else 0


def _cancel_many(told: argparse.Namespace) -> int:
    from aiostreamq.model.outcome import JobState

    caught = ask(
        queue_of(told),
        lambda queue: queue.cancel_many(
            task=told.task,
            older_than=told.older_than,
            state=[JobState(one) for one in told.state] if told.state else None,
            everything=told.all and not _has_filter(told),
        ),
    )
    if told.json:
        print_json(caught)
        return 0
    for state, count in caught.items():
        say(f"{state}: {count}")
    return 0


def pause(told: argparse.Namespace) -> int:
    """Pause what was *told* on the command line; returns the exit code."""
    from aiostreamq.model.pauses import Pause

    async def go(queue: "Queue") -> list[Pause]:
        if told.task or told.lane:
            await queue.pause(task=told.task, lane=told.lane, until=_moment(told.until))
        elif told.until:
            raise UsageError("--until says when, but not what: give --task or --lane")
        return await queue.paused()

    queue = queue_of(told)
    found = ask(queue, go)
    for one in found:
        print_json(one) if told.json else say(pause_line(one))
    hint_at_task(queue, told)
    if not found:
        complain("nothing is paused")
    return 0


def resume(told: argparse.Namespace) -> int:
    """Resume what was *told* on the command line; returns the exit code."""
    queue = queue_of(told)
    was_paused = ask(queue, lambda queue: queue.resume(task=told.task, lane=told.lane))
    if told.json:
        print_json({"was_paused": was_paused})
    elif not was_paused:
        complain("it was not paused")
    if not was_paused:
        hint_at_task(queue, told)
    return 0 if was_paused else 1


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", help="this task")
    parser.add_argument("--lane", help="this lane")


def _moment(told: str | None) -> "Duration | datetime | None":
    from datetime import datetime

    if told is None:
        return None
    if "-" not in told:
        return duration("--until", told)
    try:
        return datetime.fromisoformat(told)
    except ValueError:
        return told  # it is refused with the others
