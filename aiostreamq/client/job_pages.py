"""Pages of jobs in one state: found by filters, each page from where the one before ended.

A cursor is a source and a place in it, such as "default~1764000000000-0". A source is a lane, a
task that jobs are parked for, or empty if the state has only one.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

import orjson

from aiostreamq import clock
from aiostreamq.client.ended_job_info import enqueued_at
from aiostreamq.client.listed_jobs import (
    WAITING_STATES,
    of_entry,
    of_hash,
    of_letter,
    with_pause,
)
from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.model.info import JobInfo, JobPage, time_of
from aiostreamq.model.job_state import JobState, states_of
from aiostreamq.model.record import record
from aiostreamq.model.stats import read_recent
from aiostreamq.model.stream_ids import id_before, is_stream_id
from aiostreamq.model.time import moment
from aiostreamq.store.dead_letters import DeadLetterStore, Span
from aiostreamq.store.inspect.snapshot import Snapshots

if TYPE_CHECKING:
    from aiostreamq.client.listed_jobs import SpecOf
    from aiostreamq.client.task_argument import Named
    from aiostreamq.model.duration import Duration
    from aiostreamq.store.queue import QueueStore

# The states of ended jobs that leave a dead letter, and are listed from there.
_WITH_LETTER = {JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD}


class Found(NamedTuple):
    """A job, and its place in its source."""

    place: str
    job: JobInfo | None  #: None if it is in another state, or does not match


Jobs = AsyncGenerator[Found, None]


@record
class PageFilter:
    """The jobs that a page is about."""

    state: JobState
    task: str | None
    lane: str | None
    tag: str | None
    error: str | None
    contains: str  #: in lower case; empty is any

    @classmethod
    def of(
        cls,
        state: object,
        task: "Named | str | None",
        lane: str | None,
        tag: str | None,
        error: str | None,
        contains: str | None,
    ) -> Self:
        """Check the filters as users give them.

        Raises:
            UsageError: The state is unknown, or several are given, or the task is not one.
        """
        states = states_of(state)
        if len(states) != 1:
            raise UsageError(f"state={state!r}: a page has jobs of one state: give one")
        name = None if task is None else name_of(task)
        return cls(states[0], name, lane, tag, error, (contains or "").lower())

    def matches(self, job: JobInfo) -> bool:
        """Return whether a job in the right state matches."""
        if self.task is not None and job.task != self.task:
            return False
        if self.lane is not None and job.lane != self.lane:
            return False
        if self.tag is not None and self.tag not in job.tags:
            return False
        if self.error is not None:
            kind = job.error.partition(":")[0]
            if kind != self.error and not kind.endswith(f".{self.error}"):
                return False
        return not self.contains or self.contains in arguments_text(job).lower()

    def may_match(self, envelope: bytes) -> bool:
        """Return whether a job may match, by its envelope: most are left out by this quick look."""
        if self.task is not None and self.task.encode() not in envelope:
            return False
        if not _PLAIN.fullmatch(self.contains):  # JSON may write it in several ways
            return True
        return self.contains.encode() in envelope.lower()


# Text that JSON writes in one way only, whatever library wrote it.
_PLAIN = re.compile(r"[a-z0-9_.@ -]+")


def arguments_text(job: JobInfo) -> str:
    """Return the arguments of a job as JSON, with its secrets masked: what is searched."""
    if job.args is None:
        return ""
    written = orjson.dumps([job.args, job.kwargs]).decode()
    return written.removeprefix("[").removesuffix("]")


class PageSize(NamedTuple):
    """The limits of a page."""

    limit: int  #: jobs
    searched: int  #: jobs to look at
    timeout: float  #: seconds

    @classmethod
    def of(cls, limit: int, searched: int, timeout: "Duration") -> Self:
        """Check the limits as users give them.

        Raises:
            UsageError: One of them would give an empty page.
        """
        if limit < 1 or searched < 1:
            raise UsageError(f"limit={limit}, searched={searched}: use 1 or more")
        return cls(limit, searched, seconds("timeout", timeout))


async def read_page(
    store: "QueueStore", wanted: PageFilter, after: str | None, size: PageSize, spec_of: "SpecOf"
) -> JobPage:
    """Return a page of jobs; see `QueueViews.job_page`."""
    snapshots = Snapshots(store)
    paused: Mapping[str, int] = {}
    if wanted.state in WAITING_STATES:
        paused = await snapshots.paused()
    found: list[JobInfo] = []
    searched, until = 0, clock.monotonic() + size.timeout
    async with aclosing(_from(await _sources(store, snapshots, wanted), after)) as jobs:
        async for source, one in jobs:
            searched += 1
            if one.job is not None and wanted.matches(one.job):
                dated = replace(one.job, enqueued_at=enqueued_at(one.job.id))
                found.append(with_pause(dated, paused, spec_of))
            is_full = len(found) >= size.limit or searched >= size.searched
            # A page without filters is never cut short: a busy machine must not make it smaller.
            if is_full or (searched >= size.limit and clock.monotonic() > until):
                return JobPage(tuple(found), searched, f"{source}~{one.place}")
    return JobPage(tuple(found), searched, None)


#: Gives the jobs of a source after a place; an empty place is the beginning.
Source = Callable[[str], Jobs]


async def _from(
    sources: Mapping[str, Source], after: str | None
) -> AsyncGenerator[tuple[str, Found], None]:
    begin, _, place = (after or "").partition("~")
    if after is not None and begin not in sources:
        raise _invalid(after)
    is_before = after is not None
    for name, jobs_after in sources.items():
        if is_before and name != begin:
            continue
        try:
            jobs = jobs_after(place if is_before else "")
        except ValueError:
            raise _invalid(after) from None
        is_before = False
        async with aclosing(jobs):
            async for one in jobs:
                yield name, one


def _invalid(after: str | None) -> UsageError:
    return UsageError(f"after={after!r} is not the place of a job of this state: begin without it")


async def _sources(
    store: "QueueStore", snapshots: Snapshots, wanted: PageFilter
) -> dict[str, Source]:
    state = wanted.state
    match state:
        case JobState.RUNNING | JobState.QUEUED:
            read = _running if state is JobState.RUNNING else _queued
            lanes = [one for one in store.stream_names if wanted.lane in {None, one}]
            return {lane: _checked(partial(read, store, wanted, lane)) for lane in lanes}
        case JobState.PARKED:
            tasks = await snapshots.parked_tasks()
            named = [one for one in tasks if wanted.task in {None, one}]
            return {task: _checked(partial(_parked, store, wanted, task)) for task in named}
        case JobState.DELAYED:
            return {"": partial(_delayed, snapshots)}
        case _ if state in _WITH_LETTER:
            return {"": _checked(partial(_dead, DeadLetterStore(store), state))}
        case _:
            return {"": partial(_ended, store, snapshots, state)}


def _checked(read: Source) -> Source:
    """Return *read*, which refuses a place that is not the id of an entry."""

    def checked(place: str) -> Jobs:
        if place and not is_stream_id(place):
            raise ValueError(place)
        return read(place)

    return checked


async def _running(store: "QueueStore", wanted: PageFilter, lane: str, after: str) -> Jobs:
    snapshots = Snapshots(store)
    now_ms = await snapshots.now_ms()
    async with aclosing(snapshots.pending(store.keys.stream(lane), after)) as deliveries:
        async for pending, entry in deliveries:
            since = moment(now_ms - pending.idle_ms)
            job = None
            if wanted.may_match(entry.fields.get(b"job", b"")):
                job = of_entry(entry, JobState.RUNNING, lane, since, pending.worker)
            yield Found(pending.entry, job)


async def _queued(store: "QueueStore", wanted: PageFilter, lane: str, after: str) -> Jobs:
    entries = Snapshots(store).waiting(store.keys.stream(lane), after or "0-0")
    async with aclosing(entries):
        async for entry in entries:
            job = None
            if wanted.may_match(entry.fields.get(b"job", b"")):
                job = of_entry(entry, JobState.QUEUED, lane, time_of(entry.entry))
            yield Found(entry.entry, job)


async def _parked(store: "QueueStore", wanted: PageFilter, task: str, after: str) -> Jobs:
    entries = Snapshots(store).entries(store.keys.parked_for(task), after or "0")
    async with aclosing(entries):
        async for entry in entries:
            job = None
            if wanted.may_match(entry.fields.get(b"job", b"")):
                job = of_entry(entry, JobState.PARKED, "", time_of(entry.entry))
            yield Found(entry.entry, job)


def _delayed(snapshots: Snapshots, after: str) -> Jobs:
    due, _, passed = after.partition("-")
    return _delayed_from(snapshots, int(due) if after else None, int(passed or 0))


async def _delayed_from(snapshots: Snapshots, due: int | None, passed: int) -> Jobs:
    begin = b"-inf" if due is None else b"%d" % due
    async with aclosing(snapshots.delayed(begin, passed)) as delayed:
        async for job_id, due_ms, fields in delayed:
            # Many may be due at one time: the place is which of them it is.
            due, passed = due_ms, passed + 1 if due_ms == due else 1
            yield Found(f"{due_ms}-{passed}", of_hash(job_id, due_ms, fields))


def _ended(store: "QueueStore", snapshots: Snapshots, state: JobState, after: str) -> Jobs:
    entry, _, index = after.partition(":")
    if after and not (is_stream_id(entry) and index.isdecimal()):
        raise ValueError(after)
    return _ended_from(store, snapshots, state, entry, int(index or 0))


async def _ended_from(
    store: "QueueStore", snapshots: Snapshots, state: JobState, newest: str, passed: int
) -> Jobs:
    recent = snapshots.entries(store.keys.recent, "0", newest_first=True, newest=newest or "+")
    async with aclosing(recent) as entries:
        async for entry in entries:
            done = passed if entry.entry == newest else 0
            for number, job in _ended_in(entry.entry, entry.fields, state):
                if number > done:
                    yield Found(f"{entry.entry}:{number}", job)


def _ended_in(
    entry: str, fields: Mapping[bytes, bytes], state: JobState
) -> Iterator[tuple[int, JobInfo | None]]:
    since = time_of(entry)
    for number, ended in enumerate(read_recent(fields), start=1):
        job = None
        if ended.state is state:
            job = JobInfo(ended.id, ended.task, ended.state, since, run_seconds=ended.ran)
        yield number, job


async def _dead(store: DeadLetterStore, state: JobState, after: str) -> Jobs:
    span = Span(newest=id_before(after)) if after else Span()
    async with aclosing(store.newest_first(span)) as pages:
        async for page in pages:
            for letter in page:
                job = None
                if letter.state is state:
                    job = replace(of_letter(letter), dead_letter=letter.id)
                yield Found(letter.id, job)
