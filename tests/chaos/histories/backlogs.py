"""The limits of Redis and the jobs that wait for them, and the rules that must always hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Reply
    from tests.chaos.histories.job import Job
    from tests.chaos.histories.reference import Reference


@dataclass
class Backlogs:
    """The jobs that wait, and the limits that they wait for."""

    ids: dict[str, list[str]]  #: of held jobs by backlog, first come first
    ready: list[str]  #: backlogs whose first job may be admitted
    blocked: dict[str, list[str]]  #: backlogs that wait, by the token of a limit
    due: dict[str, float]  #: when a limit has room again, in ms
    permits: dict[str, set[str]]  #: of deliveries, by the token of a limit
    orders: dict[str, list[str]]  #: ids of jobs that run one after the other, by token
    held: dict[str, int]  #: how many jobs, by lane

    @classmethod
    def of(cls, sets: Reply, ready: Reply, due: Reply, held: Reply) -> Backlogs:
        """Read what one look has found. *sets* has the kind, the rest of a key and the members."""
        kinds: dict[str, dict[str, list[str]]] = {
            kind: {} for kind in ("backlog", "blocked", "permits", "order")
        }
        for kind, name, members in cast("list[tuple[bytes, bytes, Reply]]", sets):
            kinds[kind.decode()][name.decode()] = _texts(members)
        return cls(
            kinds["backlog"],
            _texts(ready),
            kinds["blocked"],
            {token: float(at) for token, at in _pairs(due).items()},
            {token: set(members) for token, members in kinds["permits"].items()},
            kinds["order"],
            {lane: int(count) for lane, count in _pairs(held).items()},
        )

    def check(self, model: Reference) -> None:
        """No job waits for a limit that has room, unless it is going to be looked at."""
        waiting = model.backlogs()
        assert self.ids == {name: [job.id for job in jobs] for name, jobs in waiting.items()}
        assert self.held == Counter(lane for jobs in waiting.values() for lane in _lanes(jobs))
        assert self.permits == model.permits()
        orders = model.orders()
        assert self.orders == {token: [job.id for job in jobs] for token, jobs in orders.items()}
        everywhere = [*self.ready, *(name for names in self.blocked.values() for name in names)]
        assert sorted(everywhere) == sorted(waiting), "a backlog is nowhere, or twice"
        for token, names in self.blocked.items():
            assert all(token in name.split() for name in names)
            if token.startswith("o="):
                first = orders[token][0]
                assert first.place != "held" or first.backlog not in names, (
                    f"{first.id} is not seen"
                )
                assert self.due.get(token, inf) != inf, f"a lost end of {token} is never seen"
            elif token.startswith("c=") and model.room(token) < 1:
                assert token in self.due, f"the rule of {token} may change"
            elif not any(token in name.split() for name in self.ready):
                assert self.due.get(token, inf) != inf, f"{names} wait for {token} for ever"

    def check_admission(self, before: Backlogs, model: Reference, wanted: list[str]) -> None:
        """A limit refuses each job that is *wanted* and not admitted."""
        waiting = model.backlogs()
        assert not {*wanted} & {*self.ready}
        for token, names in self.blocked.items():
            for name in {*names} & {*wanted}:
                # A rate may have room for less than the job that was refused first.
                if name in before.ready or token[:2] in {"c=", "o="}:
                    assert model.refuses(token, waiting[name][0]), f"{token} has room for {name}"


def _lanes(jobs: list[Job]) -> list[str]:
    return [job.backlog.split()[0] for job in jobs]


def _texts(reply: Reply) -> list[str]:
    return [one.decode() for one in cast("list[bytes]", reply)]


def _pairs(reply: Reply) -> dict[str, str]:
    flat = _texts(reply)
    return dict(zip(flat[::2], flat[1::2], strict=True))
