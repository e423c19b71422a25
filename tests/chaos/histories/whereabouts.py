"""Where the jobs of a queue are, by what Redis has: each should be in one place."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, cast

import orjson

from aiostreamq.model.keys import GROUP
from tests.chaos.histories.backlogs import Backlogs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.connection.link import Reply
    from tests.chaos.histories.job import Job
    from tests.support.store import Store

_Entries = list[tuple[bytes, "Reply"]]

#: Where a job is: the place, and what can be seen of its latest delivery there.
Whereabouts = tuple[str | int, ...]

# All in one call: this is asked after every step. ARGV: prefix, group, inbox, how many
# lines, lines, tasks.
_LOOK = """
local prefix, group, inbox, lines = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local function at(name) return prefix .. name end
local ended, hashes, in_lines, parked, limits = {}, {}, {}, {}, {}
local is_of_limits = { backlog = true, blocked = true, permits = true, order = true }
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, id = string.match(string.sub(key, #prefix + 1), '^(%a+):(.*)$')
  if kind == 'result' then
    ended[#ended + 1] = { id, redis.call('GET', key) }
  elseif kind == 'job' then
    hashes[#hashes + 1] = { id, unpack(redis.call('HMGET', key, 'e', 'ended', 'n', 'a')) }
  elseif is_of_limits[kind] then
    limits[#limits + 1] = { kind, id, redis.call('ZRANGE', key, 0, -1) }
  end
end
for place = 5, #ARGV do
  if place < 5 + lines then
    local stream = at('stream:' .. ARGV[place])
    in_lines[#in_lines + 1] = {
      ARGV[place], redis.call('XRANGE', stream, '-', '+'),
      redis.call('XPENDING', stream, group, '-', '+', 99), redis.call('XINFO', 'GROUPS', stream),
    }
  else
    parked[#parked + 1] = redis.call('XRANGE', at('parked:' .. ARGV[place]), '-', '+')
  end
end
return {
  ended, hashes, in_lines, parked,
  redis.call('ZRANGE', at('delayed'), 0, -1), redis.call('LRANGE', at('inbox:' .. inbox), 0, -1),
  redis.call('ZRANGE', at('cancelled'), 0, -1), redis.call('HGETALL', at('paused')),
  redis.call('SMEMBERS', at('parked')),
  limits, redis.call('ZRANGE', at('ready'), 0, -1),
  redis.call('ZRANGE', at('due'), 0, -1, 'WITHSCORES'), redis.call('HGETALL', at('held')),
}
"""


class Sight(NamedTuple):
    """What one look found."""

    places: dict[str, list[Whereabouts]]  #: of each job that there is a trace of
    told: list[str]  #: ends that the inbox `me` was told, as id and state
    cancelled: set[str]  #: jobs that are so, and still have an entry
    paused: dict[str, int]  #: what is, until when in ms
    parked_for: set[str]  #: tasks
    lags: dict[str, int | None]  #: of the lines, as Redis tells autoscalers, wherever it can
    backlogs: Backlogs


class Trace(NamedTuple):
    """What the hash of a job says."""

    entry: str
    ended: str
    number: str
    attempt: str


def whereabouts(job: Job) -> list[Whereabouts]:
    """Where a job should be, as `look` tells it."""
    ended: list[Whereabouts] = [("ended", job.state if job.is_kept else "")] if job.state else []
    match job.place:
        case "ended":
            return ended
        case "queued":
            return [*ended, ("queued", job.line, job.number, job.attempt)]
        case "running":
            return [*ended, ("running", job.line, job.owner, job.number, job.attempt)]
        case "held":
            return [("held", job.backlog, job.number, job.attempt)]
        case _:
            return [(job.place, job.number, job.attempt)]


def state_of(raw: bytes) -> str:
    """How an outcome says that its job ended."""
    return orjson.loads(raw)["state"]


async def look(store: Store, lines: Sequence[str], tasks: Sequence[str]) -> Sight:
    """Look at everything there is."""
    arguments = (store.keys.prefix, GROUP, "me", len(lines), *lines, *tasks)
    found = cast("list[list[Reply]]", await store.link.call("EVAL", _LOOK, 0, *arguments))
    ended, hashes, in_lines, parked, delayed, notices, cancelled, paused, parked_for, *rest = found
    known = defaultdict[str, Trace](lambda: Trace("", "", "", ""))
    known.update({job_id: Trace(*trace) for job_id, *trace in map(texts, hashes)})
    states = {
        job_id.decode(): state_of(raw) for job_id, raw in cast("list[tuple[bytes, bytes]]", ended)
    }
    places = defaultdict[str, list[Whereabouts]](list)
    places.update({job_id: [] for job_id in (*known, *states)})
    for job_id in {*states, *(one for one, trace in known.items() if trace.ended)}:
        places[job_id].append(("ended", states.get(job_id, "")))
    for job_id in texts(delayed):
        trace = known[job_id]
        places[job_id].append(("delayed", int(trace.number or 0), int(trace.attempt or 1)))
    backlogs = Backlogs.of(*rest)
    for name, job_ids in backlogs.ids.items():
        for job_id in job_ids:
            trace = known[job_id]
            places[job_id].append(("held", name, int(trace.number or 0), int(trace.attempt or 1)))
    for waiting in parked:
        for _, fields in entries_of(waiting):
            places[fields["id"]].append(("parked", *_counts(fields)))
    lags: dict[str, int | None] = {}
    for name, entries, pending, groups in cast("list[tuple[bytes, Reply, Reply, Reply]]", in_lines):
        line = name.decode()
        owners = {one[0]: one[1] for one in map(texts, cast("list[Reply]", pending))}
        for entry, fields in entries_of(entries):
            is_known = known[fields["id"]].entry == entry
            owner = owners.pop(entry, None)
            place = "astray" if not is_known else "queued" if owner is None else "running"
            whose = () if owner is None else (owner,)
            places[fields["id"]].append((place, line, *whose, *_counts(fields)))
        assert not owners, f"pending, but not in stream:{line}"
        lags |= _lag(line, groups, entries)
    flat = texts(paused)
    return Sight(
        places,
        [_end_in(line) for notice in texts(notices) for line in notice.split("\n")],
        set(texts(cancelled)),
        {word: int(until) for word, until in zip(flat[::2], flat[1::2], strict=True)},
        set(texts(parked_for)),
        lags,
        backlogs,
    )


def _end_in(notice: str) -> str:
    job_id, _, outcome = notice.partition(" ")
    return f"{job_id} {state_of(outcome.encode())}"


def _lag(line: str, groups: Reply, entries: Reply) -> dict[str, int | None]:
    [group] = cast("list[list[Reply]]", groups)
    facts = dict(zip(group[::2], group[1::2], strict=True))
    lag, last = cast("int | None", facts.get(b"lag")), facts[b"last-delivered-id"]
    is_gone = last != b"0-0" and last not in [entry for entry, _ in cast("_Entries", entries)]
    # Where the entry that was delivered last is deleted before an older one, Redis (seen with
    # 7.0) takes for deleted what is to come, until the next is delivered: no fault of ours.
    return {} if lag is None and is_gone else {line: lag}


def texts(reply: Reply) -> list[str]:
    """A list of texts, with '' for what there is not."""
    items = cast("list[Reply]", reply or [])
    return [item.decode() if isinstance(item, bytes) else "" for item in items]


def entries_of(reply: Reply) -> list[tuple[str, dict[str, str]]]:
    """The entries of a stream with their fields."""
    entries = [(entry, texts(flat)) for entry, flat in cast("_Entries", reply)]
    return [
        (entry.decode(), dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in entries
    ]


def _counts(fields: dict[str, str]) -> tuple[int, int]:
    return int(fields["n"]), int(fields.get("a", 1))
