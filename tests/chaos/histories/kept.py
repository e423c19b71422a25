"""Histories that once went wrong, and that chance rarely finds. Each yields after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.histories.job import SYNC_A, SYNC_B, SYNC_TOO_LATE, SYNC_TWICE, Call
from tests.chaos.histories.limited_jobs import LimitedJobs
from tests.chaos.histories.steering import Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


SYNC_C = Call("sync", b'{"task":"sync","args":["c"]}', tenant="c")


class KeptHistories(LimitedJobs, Steering):
    """The steps that they are made of."""


def cancel_woken(one: KeptHistories) -> Generator[None]:
    """Two backlogs wait for a limit, it has room, and the one that was woken is cancelled."""
    one.rush(worker="a", call=SYNC_A, job_ids=["h0", "h1"], others=["h2"])
    yield
    one.settle(at=[0], state="done", keep_ms=0)
    yield
    backlogs = one.look().backlogs
    [woken] = backlogs.ready
    one.cancel(job_ids=backlogs.ids[woken], states=[])
    yield


def admit_all(one: KeptHistories) -> Generator[None]:
    """A call reads that many jobs of a backlog as it takes, and these are all."""
    one.enqueue_held(job_ids=["h0", "h1"], call=SYNC_TOO_LATE, lane="default", mark="0")
    yield
    one.enqueue_held(job_ids=["h2", "h3"], call=SYNC_A, lane="slow", mark="0")
    yield
    one.admit(worker="a", most=3, arrives=True)
    yield


def use_up(one: KeptHistories) -> Generator[None]:
    """Three backlogs wait for a rate, and two that are woken use up all its room."""
    calls = {"h1": SYNC_TWICE, "h2": SYNC_B}
    for job_id, call in calls.items():
        one.enqueue_held(job_ids=[job_id], call=call, lane="default", mark="0")
        one.admit(worker="a", most=4, arrives=True)
        one.settle(at=[0, 1], state="done", keep_ms=0)
        yield
    later = {"h3": SYNC_TWICE, "h4": SYNC_B, "h5": SYNC_C}
    for job_id, call in later.items():
        one.enqueue_held(job_ids=[job_id], call=call, lane="default", mark="0")
    one.admit(worker="a", most=4, arrives=True)
    yield
    one.pay_off()
    yield
    one.admit(worker="a", most=4, arrives=True)
    yield


def pause_woken(one: KeptHistories) -> Generator[None]:
    """Two backlogs wait for a limit, and the lane of the one that is woken is paused."""
    one.rush(worker="a", call=SYNC_A, job_ids=["h0", "h1"], others=["h2"])
    yield
    one.settle(at=[0], state="done", keep_ms=0)
    [woken] = one.look().backlogs.ready
    one.pause(words=[f"lane:{woken.split()[0]}"], until="0")
    one.ask_pauses("b")
    yield
    one.admit(worker="b", most=4, arrives=True)
    yield


def refuse_by_api(one: KeptHistories) -> Generator[None]:
    """An API refuses one of two jobs; what waits for it goes on when its limit may be used."""
    one.rush(worker="a", call=SYNC_A, job_ids=["h0", "h1"], others=["h2"])
    one.rush(worker="a", call=SYNC_B, job_ids=["h3"], others=["h4"])
    yield
    one.rate_limited(at=[0])
    yield
    one.admit(worker="b", most=4, arrives=True)
    one.settle(at=[0], state="done", keep_ms=0)
    yield
    one.pay_off()
    yield
    one.admit(worker="b", most=4, arrives=True)
    yield
    one.end_quiet()
    yield
    one.admit(worker="b", most=4, arrives=True)
    yield


def correct_charges(one: KeptHistories) -> Generator[None]:
    """A job says that it has used less than it has reserved, and another waits for that."""
    one.rush(worker="a", call=SYNC_TWICE, job_ids=["h0"], others=[])
    one.rush(worker="a", call=SYNC_B, job_ids=["h1"], others=[])
    one.rush(worker="a", call=SYNC_C, job_ids=["h2"], others=[])
    yield
    one.charge(at=[0], cost=5)
    yield
    one.charge(at=[0], cost=1)
    yield
    one.admit(worker="a", most=4, arrives=True)
    yield


KEPT: tuple[Callable[[KeptHistories], Generator[None]], ...] = (
    cancel_woken,
    admit_all,
    use_up,
    pause_woken,
    refuse_by_api,
    correct_charges,
)
