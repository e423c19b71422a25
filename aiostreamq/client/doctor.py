"""The diagnosis of a queue and its Redis: what is wrong, and what to do about it."""

from collections.abc import Awaitable, Collection, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiostreamq.client.core import core_of
from aiostreamq.client.schedules.schedule import read_all
from aiostreamq.errors import UsageError
from aiostreamq.model.english import counting
from aiostreamq.model.pauses import Pause
from aiostreamq.model.record import record
from aiostreamq.model.worker_liveness import DEAD, is_dead
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.redis_errors import is_withheld, right_missing
from aiostreamq.store.inspect.doctor_probes import GroupState, Keyspace, Scanned
from aiostreamq.store.inspect.limit_states import Checked, LimitStates
from aiostreamq.store.inspect.server_check import (
    Condition,
    advice_by_subject,
    examine,
    unknown_subjects,
)
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.inspect.views import LaneView, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.info import WorkerInfo
    from aiostreamq.model.keys import Keys

# Seconds. Within a data center, a round trip takes a tenth of the first.
SLOW_ROUND_TRIP = 0.01
SLOWEST_ROUND_TRIP = 0.1

# Seconds that a job may wait, or be late, before it is reported.
LONG_WAIT = 60.0
LATE = 10.0

OK, WARNING, PROBLEM = "ok", "warning", "problem"
UNKNOWN = "unknown"  # Redis does not let us check

# Server settings that lose jobs now; the others may lose them one day.
_GRAVE = {"eviction"}

# How many names a finding lists.
_LISTED = 3


@record
class Finding:
    """The finding about one subject."""

    subject: str
    level: str  #: "ok", "warning", "problem", or "unknown" if Redis does not let us check
    text: str
    fix: str = ""  #: what to do; empty if there is nothing to do


async def diagnose(queue: "QueueClient", *, scans_keys: bool = True) -> list[Finding]:
    """Examine a queue and its Redis; with *scans_keys* also all keys of Redis, in small steps.

    Raises:
        QueueUnavailable: Redis cannot be reached.
        BrokerError: Redis does not let the queue be opened.
    """
    store = core_of(queue).session().store
    server = await core_of(queue).session().open()
    keyspace, snapshots = Keyspace(store), Snapshots(store)
    findings = [*_on_server(server.name, await examine(store, server))]
    findings += await _try(_look_at_latency(keyspace), "latency")
    findings += await _try(_look_at_groups(keyspace, snapshots), "groups", "lag")
    findings += await _try(_look_at_work(queue, snapshots), "work", "parked")
    findings += await _try(_look_at_schedules(queue, snapshots), "schedules")
    if scans_keys:
        kinds = ("lanes", "keys", "limits")
        findings += await _try(_look_at_keys(keyspace, LimitStates(store)), *kinds)
    findings += await _try(_look_at_rules(queue), "rules")
    return findings


async def _try(look: Awaitable[Iterable[Finding]], *subjects: str) -> list[Finding]:
    """Await the findings about *subjects*, which are unknown if Redis refuses a command."""
    try:
        return [*await look]
    except CommandError as error:
        return [_refused(subject, error) for subject in subjects]


def _refused(subject: str, error: CommandError) -> Finding:
    text = f"Redis refused: {error}"
    if is_withheld(error):
        return Finding(subject, UNKNOWN, text, _fix_of_unknown(right_missing(error)))
    return Finding(subject, PROBLEM, text, "check what is stored under the queue's keys")


def _fix_of_unknown(grant: str) -> str:
    return f"grant the Redis user {grant}, or ask the operator of this Redis"


async def _look_at_latency(keyspace: Keyspace) -> list[Finding]:
    return [on_latency(await keyspace.round_trips())]


async def _look_at_groups(keyspace: Keyspace, snapshots: Snapshots) -> Iterable[Finding]:
    groups = await keyspace.groups()
    beats = {name: beat for name, beat, _ in await snapshots.workers()}
    return _on_groups(groups, beats)


async def _look_at_work(queue: "QueueClient", snapshots: Snapshots) -> Iterable[Finding]:
    view = await _uncancelled(snapshots, core_of(queue).session().store.keys)
    living = sum(not is_dead(beat) for _, beat, _ in await snapshots.workers())
    return on_work(view, living, await queue.paused())


async def _look_at_schedules(queue: "QueueClient", snapshots: Snapshots) -> Iterable[Finding]:
    found = await core_of(queue).session().schedules.all()
    _, errors = read_all(found, await snapshots.paused())
    return _on_schedules(errors)


async def _look_at_keys(keyspace: Keyspace, limits: LimitStates) -> Iterable[Finding]:
    scanned = await keyspace.scan()
    suspects = await limits.check(scanned.limits)
    # Asked again: a permit may have been on its way back.
    checked = await limits.check([one.token for one in suspects])
    return [*_on_keys(scanned), *on_limits(checked, scanned.lost)]


async def _look_at_rules(queue: "QueueClient") -> Iterable[Finding]:
    return on_rules([worker for worker in await queue.workers() if not worker.is_lost])


async def _uncancelled(snapshots: Snapshots, keys: "Keys") -> View:
    """Return the state of the queue. A lane with only cancelled jobs counts as empty."""
    view = await snapshots.view()
    if not await snapshots.has_cancelled():
        return view
    busy = [lane for lane in view.lanes if lane.waiting]
    lanes = [await _from_first_uncancelled(snapshots, keys, lane) for lane in busy]
    return view._replace(lanes=lanes)


async def _from_first_uncancelled(snapshots: Snapshots, keys: "Keys", lane: LaneView) -> LaneView:
    async with aclosing(snapshots.waiting(keys.stream(lane.name))) as entries:
        async for first in entries:
            return lane._replace(oldest=first.entry)
    return lane._replace(waiting=0, oldest="")


def _on_server(name: str, condition: Condition) -> Iterator[Finding]:
    unknown = unknown_subjects(condition)
    for subject, line in advice_by_subject(condition).items():
        if asked := unknown.get(subject):
            text = f"Redis does not show: {asked}"
            yield Finding(subject, UNKNOWN, text, _fix_of_unknown("+info +config|get"))
        elif line is None:
            yield Finding(subject, OK, name if subject == "version" else "as it should be")
        else:
            # A line is what is wrong, a colon, and what to do.
            text, _, fix = line.rpartition(": ")
            yield Finding(subject, PROBLEM if subject in _GRAVE else WARNING, text, fix)


def on_latency(took: list[float]) -> Finding:
    """Judge the seconds that round trips took, shortest first."""
    median, longest = took[len(took) // 2], took[-1]
    text = f"a round trip takes {median * 1000:.2f} ms, the longest {longest * 1000:.2f} ms"
    if median > SLOW_ROUND_TRIP:
        return Finding("latency", WARNING, text, "run the workers closer to Redis")
    if longest > SLOWEST_ROUND_TRIP:
        fix = "find out what keeps Redis busy, with SLOWLOG GET and LATENCY DOCTOR"
        return Finding("latency", WARNING, text, fix)
    return Finding("latency", OK, text)


def _on_groups(groups: list[GroupState], beats: "Mapping[str, str]") -> Iterator[Finding]:
    missing = [one.stream for one in groups if not one.has_group]
    if missing:
        fix = "open the queue again, or start a worker: both create the group"
        yield Finding("groups", PROBLEM, f"{_listed(missing)} has no group", fix)
    stray = {
        owner: count
        for one in groups
        for owner, count in one.owners.items()
        if is_dead(beats.get(owner, DEAD))
    }
    if stray:
        text = (
            f"{sum(stray.values())} deliveries belong to workers that are gone: {_listed([*stray])}"
        )
        fix = "a running worker recovers them within two leases: start one, and check again"
        yield Finding("groups", WARNING, text, fix)
    if not missing and not stray:
        yield Finding("groups", OK, "every delivery belongs to a live worker")
    yield _on_lag([one for one in groups if one.has_group and one.can_know_lag])


def _on_lag(groups: list[GroupState]) -> Finding:
    unknown = [one.stream for one in groups if one.lag is None]
    wrong = [one.stream for one in groups if one.lag not in (None, one.length - one.pending)]
    if unknown:
        text = f"the lag of {_listed(unknown)} is unknown"
        fix = "entries were deleted unread; it is known again once all waiting jobs have been read"
        return Finding("lag", WARNING, text, fix)
    if wrong:
        text = f"the lag of {_listed(wrong)} is not the number of waiting jobs, and stays wrong"
        fix = (
            "no job is affected, but do not scale by the lag: use XLEN minus XPENDING, as "
            "`aiostreamq info` does (Redis 7.0 miscounts after a restart from an append-only file)"
        )
        return Finding("lag", WARNING, text, fix)
    return Finding("lag", OK, "the lag of the groups is the number of waiting jobs")


def on_work(view: View, living: int, paused: Collection[Pause]) -> Iterator[Finding]:
    """Judge whether the waiting jobs are being worked on; *paused* ones wait on purpose."""
    tasks, names = {pause.task for pause in paused}, {pause.lane for pause in paused}
    lanes = [lane for lane in view.lanes if lane.name not in names]
    waiting = sum(lane.waiting for lane in lanes)
    waits = counting(waiting, "job", "wait")
    starts = [int(lane.oldest.partition("-")[0]) for lane in lanes if lane.oldest]
    oldest = (view.now_ms - min(starts)) / 1000 if starts else 0.0
    late = (view.now_ms - view.due_ms) / 1000 if view.due_ms >= 0 else 0.0
    if waiting and not living:
        text = f"{waits} and no worker is alive"
        yield Finding("work", PROBLEM, text, "start one: aiostreamq run")
    elif oldest > LONG_WAIT:
        text = f"{waits}, the first for {oldest:.0f} s"
        fix = "start more workers, or raise their --concurrency where jobs mostly wait"
        yield Finding("work", WARNING, text, fix)
    elif late > LATE:
        text = f"a delayed job is {late:.0f} s late"
        yield Finding("work", PROBLEM, text, "start a worker: any of them promotes what is due")
    else:
        yield Finding("work", OK, f"{waits}, {counting(living, 'worker', 'live')}")
    parked = {t: count for t, count in view.parked_tasks.items() if count and t not in tasks}
    if parked:
        names = _listed([*parked])
        are_parked = counting(sum(parked.values()), "job", "are parked")
        text = f"{are_parked}, of tasks unknown to every worker: {names}"
        yield Finding("parked", WARNING, text, "start a worker that knows them")
    else:
        yield Finding("parked", OK, "every task is known to a worker")


def _on_schedules(errors: list[UsageError]) -> Iterator[Finding]:
    for error in errors:
        # The error is what is wrong, a colon, and what to do.
        text, _, fix = str(error).rpartition(": ")
        yield Finding("schedules", PROBLEM, text, fix)
    if not errors:
        yield Finding("schedules", OK, "every schedule can be read")


def _on_keys(scanned: Scanned) -> Iterator[Finding]:
    if scanned.lanes:
        text = f"jobs wait in lanes that this queue does not have: {_listed(scanned.lanes)}"
        fix = "name them in Queue(lanes=[...]), so that workers read them"
        yield Finding("lanes", PROBLEM, text, fix)
    else:
        yield Finding("lanes", OK, "jobs wait only in lanes of the queue")
    seen = f"{scanned.keys} keys" + ("" if scanned.is_whole else " (not all keys were scanned)")
    if scanned.orphans:
        text = f"{len(scanned.orphans)} of {seen} belong to nothing: {_listed(scanned.orphans)}"
        fix = "the id of an orphaned job stays taken: DEL the key, then enqueue the job again"
        yield Finding("keys", WARNING, text, fix)
    else:
        yield Finding("keys", OK, f"none of {seen} is orphaned")


def on_limits(checked: list[Checked], lost: "Sequence[str]" = ()) -> Iterator[Finding]:
    """Judge limits with which something is wrong, and backlogs that no worker looks at."""
    stray = [one for one in checked if one.strays]
    if stray:
        permits = counting(sum(one.strays for one in stray), "permit", "are held")
        text = f"{permits} by jobs that no worker has: {_listed([one.token[2:] for one in stray])}"
        fix = "nothing, if it goes: workers take these back, two at a time, when a limit is full"
        yield Finding("limits", WARNING, text, fix)
    stuck = [one.token[2:] for one in checked if one.is_stuck]
    if stuck:
        text = f"limits have room, and no worker looks at the jobs that wait: {_listed(stuck)}"
        fix = "set their rules with `aiostreamq limits set`: the workers look at the jobs then"
        yield Finding("limits", PROBLEM, text, fix)
    if lost:
        names = _listed([one.removeprefix("backlog:") for one in lost])
        text = f"a key of limits was deleted, so that no worker looks at the jobs of: {names}"
        fix = "enqueue another job of the same task and key: those before it run then, too"
        yield Finding("limits", PROBLEM, text, fix)
    if not (checked or lost):
        yield Finding("limits", OK, "every permit is held by a job, and no job waits for nothing")


def on_rules(workers: "Iterable[WorkerInfo]") -> Iterator[Finding]:
    """Judge the rules of limits that the code of workers has."""
    rules: dict[str, set[str]] = {}
    for worker in workers:
        for name, rule in worker.limits.items():
            rules.setdefault(name, set()).add(rule)
    different = [f"{name} is {' and '.join(sorted(r))}" for name, r in rules.items() if len(r) > 1]
    if different:
        text = f"workers have different rules for a limit: {_listed(different)}"
        fix = (
            "the rule that was started last is in force: end the deploy, or set one with "
            "`aiostreamq limits set`"
        )
        yield Finding("rules", WARNING, text, fix)
    else:
        yield Finding("rules", OK, "all workers have the same rules for limits")


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
