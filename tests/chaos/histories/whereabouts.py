"""Where the jobs of a queue are, by what Redis has: each should be in one place."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, cast

import orjson

from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.link import Argument, Link, Reply
    from tests.chaos.histories.reference import Job
    from tests.support.store import Store

#: Where a job is: the place, and what can be seen of its latest delivery there.
Whereabouts = tuple[str | int, ...]


class Sight(NamedTuple):
    """What one look found."""

    places: dict[str, list[Whereabouts]]  #: of each job that there is a trace of
    told: list[str]  #: ids of the jobs that the inbox `me` was told of


class Trace(NamedTuple):
    """What the hash of a job says."""

    entry: str
    ended: str
    number: str
    attempt: str


def whereabouts(job: Job) -> Whereabouts:
    """Where a job should be, as `look` tells it."""
    match job.place:
        case "ended":
            return "ended", job.state if job.is_kept else ""
        case "queued":
            return "queued", job.line, job.number, job.attempt
        case "running":
            return "running", job.line, job.owner, job.number, job.attempt
        case _:
            return job.place, job.number, job.attempt


def state_of(raw: bytes) -> str:
    """How an outcome says that its job ended."""
    return orjson.loads(raw)["state"]


async def look(store: Store, lines: Sequence[str]) -> Sight:
    """Look at everything there is."""
    link, keys = store.link, store.keys
    names = [name.removeprefix(keys.prefix) for name in texts(await link.call("KEYS", "*"))]
    jobs = [name.removeprefix("job:") for name in names if name.startswith("job:")]
    ended = [name.removeprefix("result:") for name in names if name.startswith("result:")]
    delayed, parked, notices, *found = await call_all(
        link,
        ("ZRANGE", keys.delayed, 0, -1),
        ("XRANGE", keys.prefix + "parked:t", "-", "+"),
        ("LRANGE", keys.inbox("me"), 0, -1),
        *(("XRANGE", keys.stream(line), "-", "+") for line in lines),
        *(("XPENDING", keys.stream(line), GROUP, "-", "+", 99) for line in lines),
        *(("HMGET", keys.job(job_id), "e", "ended", "n", "a") for job_id in jobs),
        *(("GET", keys.result(job_id)) for job_id in ended),
    )
    entries, found = found[: len(lines)], found[len(lines) :]
    pending, found = found[: len(lines)], found[len(lines) :]
    known = defaultdict[str, Trace](lambda: Trace("", "", "", ""))
    known.update({job_id: Trace(*texts(one)) for job_id, one in zip(jobs, found, strict=False)})
    outcomes = cast("list[bytes]", found[len(jobs) :])
    states = {job_id: state_of(raw) for job_id, raw in zip(ended, outcomes, strict=True)}

    places = defaultdict[str, list[Whereabouts]](list)
    places.update({job_id: [] for job_id in (*known, *states)})
    for job_id in {*states, *(one for one, trace in known.items() if trace.ended)}:
        places[job_id].append(("ended", states.get(job_id, "")))
    for job_id in texts(delayed):
        trace = known[job_id]
        places[job_id].append(("delayed", int(trace.number or 0), int(trace.attempt or 1)))
    for _, fields in entries_of(parked):
        places[fields["id"]].append(("parked", *_counts(fields)))
    for line, inside, owned in zip(lines, entries, pending, strict=True):
        owners = {one[0]: one[1] for one in map(texts, cast("list[Reply]", owned))}
        for entry, fields in entries_of(inside):
            is_known = known[fields["id"]].entry == entry
            owner = owners.pop(entry, None)
            place = "astray" if not is_known else "queued" if owner is None else "running"
            whose = () if owner is None else (owner,)
            places[fields["id"]].append((place, line, *whose, *_counts(fields)))
        assert not owners, f"pending, but not in stream:{line}"
    told = [line.partition(" ")[0] for notice in texts(notices) for line in notice.split("\n")]
    return Sight(places, told)


async def call_all(link: Link, *commands: tuple[Argument, ...]) -> list[Reply]:
    """Send all *commands* at once and wait for all replies."""
    calls = [link.call(*command) for command in commands]
    return [await call for call in calls]


def texts(reply: Reply) -> list[str]:
    """A list of texts, with '' for what there is not."""
    items = cast("list[Reply]", reply or [])
    return [item.decode() if isinstance(item, bytes) else "" for item in items]


def entries_of(reply: Reply) -> list[tuple[str, dict[str, str]]]:
    """The entries of a stream with their fields."""
    entries = [(entry, texts(flat)) for entry, flat in cast("list[tuple[bytes, Reply]]", reply)]
    return [
        (entry.decode(), dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in entries
    ]


def _counts(fields: dict[str, str]) -> tuple[int, int]:
    return int(fields["n"]), int(fields.get("a", 1))
