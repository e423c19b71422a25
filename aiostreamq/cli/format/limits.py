"""Limits as a table and as lines, and why jobs wait for them."""

from collections.abc import Iterator
from datetime import datetime

from aiostreamq.model.english import counting
from aiostreamq.model.limit_reports import JobWait, LimitInfo, LimitState, WaitReason

HEADS = ("LIMIT", "KIND", "RULE OF THE CODE", "SET RULES", "HELD", "KEYS WAITING", "QUIET UNTIL")

_TEXTS = {
    WaitReason.PAUSED: "its task or its lane is resumed",
    WaitReason.NO_WORKER: "a worker that serves its lane and knows its task: none is alive",
    WaitReason.SLOT: "a free slot of a worker; no limit stops it",
}


def as_row(limit: LimitInfo) -> tuple[str, ...]:
    """Return the row of a table for a limit, under HEADS."""
    about = "~" if limit.is_estimate else ""
    return (
        limit.name,
        limit.kind,
        limit.rule or "-",
        ", ".join(f"{one.name}: {one.rule}" for one in limit.set_rules) or "-",
        f"{about}{limit.held}" if limit.kind != "rate" else "-",
        f"{about}{limit.blocked}",
        "-" if limit.quiet_until is None else _time(limit.quiet_until),
    )


def rule_lines(limit: LimitInfo) -> Iterator[str]:
    """Yield the rules of a limit as lines for people: those that were set, then the code's."""
    for one in limit.set_rules:
        yield (
            f"{one.name} is {one.rule}, set by {one.set_by} at {_time(one.set_at)} "
            f"(version {one.version})"
        )
    if limit.rule:
        yield f"{limit.name} is {limit.rule} in the code"
    else:
        yield f"{limit.name} is in the code of no worker that has run"


def state_line(state: LimitState) -> str:
    """Return how a limit stands, as one line for people."""
    source = f"set for {state.decided_by}" if state.decided_by else "from the code"
    parts = [f"{state.name}: " + (f"{state.rule}, {source}" if state.rule else "no rule")]
    if state.kind != "rate":
        parts.append(f"held by {_holders(state)}")
    if state.has_room:
        parts.append("has room")
    elif state.room_at is None:
        parts.append("has no room")
    else:
        parts.append(f"has room at {_time(state.room_at)}")
    if state.quiet_until is not None:
        parts.append(f"quiet until {_time(state.quiet_until)}, as job {state.quieted_by} asked")
    if state.blocked:
        parts.append(counting(state.blocked, "key", "wait") + " for it")
    return "; ".join(parts)


def wait_facts(wait: JobWait) -> Iterator[tuple[str, str]]:
    """Yield why a job waits, as names and values."""
    if wait.reason is WaitReason.LIMIT:
        yield "waits for", f"limit {wait.limit}"
    elif wait.until is not None:
        yield "waits until", f"{_time(wait.until)}, when {_TEXTS[wait.reason]}"
    else:
        until_or_for = "until" if wait.reason is WaitReason.PAUSED else "for"
        yield f"waits {until_or_for}", _TEXTS[wait.reason]
    if wait.limits:
        yield "before it", counting(wait.ahead, "job", "wait") + " for the same limits"
    for state in wait.limits:
        yield state.kind, state_line(state)


def _holders(state: LimitState) -> str:
    if not state.holders:
        return f"{state.held} jobs" if state.held else "no job"
    named, more = ", ".join(state.holders), state.held - len(state.holders)
    return f"{named} and {more} more" if more > 0 else named


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
