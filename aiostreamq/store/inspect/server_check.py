"""Checking how a server is set up: what about it may cost jobs one day.

`examine` asks and `advice_on` judges. Many hosts hide the configuration of their servers; what
is hidden is not advised on, but listed by `unknown_subjects`.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from aiostreamq import clock
from aiostreamq.model.record import record
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.server import facts_of

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Argument, Reply
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.queue import QueueStore

# The first with script flags, by which all but new jobs pass when memory is full.
RECOMMENDED = (7, 0)

# Seconds that two clocks may be apart without a warning: plans are rarely more exact.
MOST_SKEW = 1.0

# Seconds that the replies may take; a slower server has other problems.
PATIENCE = 2.0


@record
class Condition:
    """How a server is set up; None is unknown."""

    server: "Server | None" = None
    eviction: str | None = None  #: maxmemory-policy
    appends: bool | None = None  #: whether it has an append-only file
    snapshots: bool | None = None  #: whether it has save points
    ahead: float = 0.0  #: seconds that its clock is ahead of this machine's, about
    doubt: float = 0.0  #: seconds by which that may be wrong


def advice_on(condition: Condition) -> list[str]:
    """Return a line for each thing that should be changed about a server, and how."""
    return [line for line in advice_by_subject(condition).values() if line is not None]


def advice_by_subject(condition: Condition) -> dict[str, str | None]:
    """Return what should be changed about each subject; None if nothing should."""
    return {
        "eviction": _on_eviction(condition),
        "persistence": _on_persistence(condition),
        "version": _on_version(condition),
        "clocks": _on_clocks(condition),
    }


def unknown_subjects(condition: Condition) -> dict[str, str]:
    """Return which subjects are unknown, each with the questions that had no answer."""
    unknown: dict[str, str] = {}
    if condition.eviction is None:
        unknown["eviction"] = "INFO memory, CONFIG GET maxmemory-policy"
    keeps = (condition.appends, condition.snapshots)
    if True not in keeps and None in keeps:
        asked = ("INFO persistence, CONFIG GET appendonly", "CONFIG GET save")
        unknown["persistence"] = ", ".join(
            question for question, answer in zip(asked, keeps, strict=True) if answer is None
        )
    if condition.server is None:
        unknown["version"] = "INFO server"
    return unknown


def _on_eviction(condition: Condition) -> str | None:
    policy = condition.eviction
    if policy is None or policy == "noeviction":
        return None
    # Everything has a time to live, except jobs that wait.
    lost = "results" if policy.startswith("volatile") else "jobs"
    return (
        f"a full Redis will throw {lost} away (maxmemory-policy {policy}): "
        f"set `maxmemory-policy noeviction`"
    )


def _on_persistence(condition: Condition) -> str | None:
    if condition.appends is not False or condition.snapshots is not False:
        return None
    return (
        "Redis keeps nothing on disk, so its restart will lose every job: "
        "set `appendonly yes`, or save points"
    )


def _on_version(condition: Condition) -> str | None:
    server = condition.server
    if server is None or server.version >= RECOMMENDED:
        return None
    return (
        f"{server.name} has no script flags (allow-oom), so while it is full the jobs of dead "
        f"workers wait for memory: use Redis 7.0 or newer, or Valkey"
    )


def _on_clocks(condition: Condition) -> str | None:
    apart = abs(condition.ahead)
    if apart <= MOST_SKEW + condition.doubt:
        return None
    which = "behind" if condition.ahead > 0 else "ahead of"
    return (
        f"this machine's clock is {apart:.1f} s {which} that of Redis, so jobs planned here for a "
        f"time of day are that much off: let NTP set both"
    )


async def examine(queue: "QueueStore", server: "Server") -> Condition:
    """Ask the server of *queue* how it is set up.

    Raises:
        QueueUnavailable: It did not answer for two seconds.
    """
    before = clock.wall()
    time = cast("list[bytes] | None", await _ask(queue, "TIME"))
    after = clock.wall()
    memory, persistence, save = await asyncio.gather(
        _ask(queue, "INFO", "memory"),
        _ask(queue, "INFO", "persistence"),
        _setting(queue, "save"),
    )
    facts = facts_of(cast("bytes", memory or b"") + b"\r\n" + cast("bytes", persistence or b""))
    # Each stands in two places, and a host may hide one of them.
    policy = facts.get("maxmemory_policy") or await _setting(queue, "maxmemory-policy")
    aof = facts.get("aof_enabled") or await _setting(queue, "appendonly")
    now = float(time[0]) + float(time[1]) / 1_000_000 if time else None
    return Condition(
        server=server if server.is_version_known else None,
        eviction=policy,
        appends=None if aof is None else aof in {"1", "yes"},
        snapshots=None if save is None else bool(save.strip()),
        ahead=0.0 if now is None else now - (before + after) / 2,
        doubt=(after - before) / 2,
    )


async def _setting(queue: "QueueStore", name: str) -> str | None:
    """Read one setting; a host that hides it refuses, or replies with nothing."""
    pair = cast("list[bytes] | None", await _ask(queue, "CONFIG", "GET", name))
    return pair[1].decode() if pair else None


async def _ask(queue: "QueueStore", *command: "Argument") -> "Reply":
    try:
        return await queue.call(*command, deadline=PATIENCE)
    except CommandError:
        return None  # forbidden, or unknown there
