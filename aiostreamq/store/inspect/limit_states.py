"""Reading what limits hold and refuse, without changing anything."""

from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import ADMITTED
from aiostreamq.model.limit_reports import KINDS, LimitState, limits_of, rule_in, shown_rule
from aiostreamq.model.time import moment
from aiostreamq.store.queue import pairs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.model.limit_reports import LimitInfo
    from aiostreamq.store.connection.link import Reply
    from aiostreamq.store.queue import QueueStore

# How many limits one call checks.
_CHECKED_AT_ONCE = 20


class Explained(NamedTuple):
    """The answer of the limits of one backlog for a job."""

    ahead: int  #: how many jobs of the backlog come before it
    is_ready: bool  #: whether the backlog waits for no limit
    limits: tuple[LimitState, ...]
    awaited: str  #: name of the limit that the backlog waits for; empty if for none


class Checked(NamedTuple):
    """A limit with which something is wrong."""

    token: str
    strays: int  #: permits of jobs that no worker has
    is_stuck: bool  #: whether it has room, and nothing has a worker look at what waits for it


class LimitStates:
    """Reads the limits of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def list(self) -> "list[LimitInfo]":
        """Return all limits that have a rule, by name."""
        keys = self._keys
        reply = await self._queue.run(
            "list_limits",
            [keys.limits, keys.limit_defaults, keys.due, keys.stream(ADMITTED)],
            [keys.prefix],
        )
        rules, defaults, *counts = cast("list[list[bytes]]", reply)
        waiting, tokens, all_tokens, holding, jobs, all_jobs, quiets = cast(
            "tuple[Reply, int, int, Reply, int, int, Reply]", tuple(counts)
        )
        return limits_of(
            pairs_of(defaults),
            pairs_of(rules),
            _scaled(holding, jobs, all_jobs),
            _scaled(waiting, tokens, all_tokens),
            _numbers(quiets),
            is_estimate=tokens < all_tokens or jobs < all_jobs,
        )

    async def explain(self, backlog: str, costs: str = "", job_id: str = "") -> Explained:
        """Return what the limits of a backlog say about a job.

        Args:
            backlog: The name of the backlog, with the tokens of the limits.
            costs: The costs of the job, a number for each limit; empty for 1 each.
            job_id: The job; empty for one that is not there.
        """
        reply = await self._queue.run(
            "explain_limits", [self._keys.limits], [self._keys.prefix, backlog, costs, job_id]
        )
        now_ms, ahead, is_ready, *limits = cast("tuple[int, int, int, *tuple[Reply, ...]]", reply)
        self._queue.clock.set(now_ms)
        states, awaited = list[LimitState](), ""
        for name, limit in zip(limits[::2], limits[1::2], strict=True):
            token = cast("bytes", name).decode()
            state, is_awaited = _state(token, limit)
            states.append(state)
            awaited = awaited or (state.name if is_awaited else "")
        return Explained(ahead, is_ready == 1, tuple(states), awaited)

    async def check(self, tokens: "Sequence[str]") -> "list[Checked]":
        """Return what is wrong with some limits; those with which nothing is are left out."""
        found = list[Checked]()
        for start in range(0, len(tokens), _CHECKED_AT_ONCE):
            some = tokens[start : start + _CHECKED_AT_ONCE]
            reply = await self._queue.run(
                "check_limits", [self._keys.limits], [self._keys.prefix, *some]
            )
            flat = cast("list[int]", reply)
            for token, strays, is_stuck in zip(some, flat[::2], flat[1::2], strict=True):
                if strays or is_stuck:
                    found.append(Checked(token, strays, is_stuck == 1))
        return found


def _state(token: str, reply: "Reply") -> tuple[LimitState, bool]:
    rule, decided_by, has_room, room_at, held, blocked, is_awaited, holders, quiet, by = cast(
        "tuple[bytes, bytes, int, bytes, int, int, int, list[bytes], bytes, bytes]", reply
    )
    state = LimitState(
        token[2:],
        KINDS[token[0]],
        shown_rule(token, rule_in(rule.decode(errors="replace"))),
        decided_by.decode(errors="replace")[2:],
        has_room == 1,
        moment(int(room_at)) if room_at else None,
        held,
        tuple(one.decode(errors="replace") for one in holders),
        blocked,
        moment(int(quiet)) if quiet else None,
        by.decode(errors="replace"),
    )
    return state, is_awaited == 1


def _scaled(reply: "Reply", seen: int, total: int) -> "Mapping[str, int]":
    """Return counts by token, as they are for *total* if they were counted for some."""
    return {name: round(count * total / seen) for name, count in _numbers(reply).items()}


def _numbers(reply: "Reply") -> "dict[str, int]":
    """Return numbers by token."""
    flat = cast("list[bytes | int]", reply)
    return {
        cast("bytes", name).decode(errors="replace"): cast("int", number)
        for name, number in zip(flat[::2], flat[1::2], strict=True)
    }
