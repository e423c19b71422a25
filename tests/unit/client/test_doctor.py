"""The findings of the doctor."""

from aiostreamq import Pause
from aiostreamq.client.doctor import (
    OK,
    PROBLEM,
    WARNING,
    Finding,
    on_latency,
    on_limits,
    on_rules,
    on_work,
)
from aiostreamq.model.info import WorkerInfo, parse_worker
from aiostreamq.store.inspect.limit_states import Checked
from aiostreamq.store.inspect.views import LaneView, View

NOW = 1_000_000


def view(*lanes: LaneView, due_ms: int = -1, parked: dict[str, int] | None = None) -> View:
    """A queue with these lanes."""
    return View(NOW, 0, due_ms, {}, 0, {}, parked or {}, list(lanes))


def lane(name: str, waiting: int, seconds: int) -> LaneView:
    """A lane whose first job waits so long."""
    return LaneView(name, waiting, 0, f"{NOW - seconds * 1000}-0", {}, {})


def work(seen: View, living: int = 1, *paused: Pause) -> dict[str, Finding]:
    """Return the findings by subject."""
    return {one.subject: one for one in on_work(seen, living, paused)}


def test_waiting_jobs_without_a_worker_are_reported() -> None:
    """It needs a worker."""
    found = work(view(lane("a", 2, 1)), 0)["work"]
    assert (found.level, found.text) == (PROBLEM, "2 jobs wait and no worker is alive")
    assert "aiostreamq run" in found.fix


def test_work_that_waits_long() -> None:
    """It needs more workers."""
    found = work(view(lane("a", 1, 59), lane("b", 2, 61)))["work"]
    assert (found.level, found.text) == (WARNING, "3 jobs wait, the first for 61 s")
    assert "more workers" in found.fix
    assert work(view(lane("a", 1, 59)))["work"].level == OK


def test_work_that_is_paused() -> None:
    """It waits on purpose, whoever works."""
    for living, lives in ((0, "0 workers live"), (1, "1 worker lives")):
        found = work(view(lane("a", 3, 3600), lane("b", 0, 0)), living, Pause(lane="a"))["work"]
        assert (found.level, found.text) == (OK, f"0 jobs wait, {lives}")


def test_delayed_work_that_is_late() -> None:
    """No worker has promoted it."""
    found = work(view(due_ms=NOW - 11_000))["work"]
    assert (found.level, found.text) == (PROBLEM, "a delayed job is 11 s late")
    assert "start a worker" in found.fix
    assert work(view(due_ms=NOW - 9_000))["work"].level == OK


def test_parked_work() -> None:
    """It needs a worker of other code, unless its task is paused."""
    seen = view(parked={"a": 2, "b": 1, "c": 0})
    found = work(seen, 1, Pause(task="b"))["parked"]
    assert found.level == WARNING
    assert found.text == "2 jobs are parked, of tasks unknown to every worker: a"
    assert "worker that knows" in found.fix
    assert work(seen, 1, Pause(task="b"), Pause(task="a"))["parked"].level == OK


def test_latency() -> None:
    """All are slow, or one is: each has its own remedy."""
    assert on_latency([0.001] * 20).level == OK
    far = on_latency([0.02] * 20)
    assert (far.level, far.fix) == (WARNING, "run the workers closer to Redis")
    busy = on_latency([*[0.001] * 19, 0.2])
    assert busy.level == WARNING
    assert "SLOWLOG GET" in busy.fix


def test_limits_that_are_wrong() -> None:
    """Permits of lost jobs come back by themselves; a limit that nobody looks at does not."""
    (found,) = on_limits([])
    assert found.level == OK
    stray, stuck = on_limits(
        [Checked("c=a:x", 2, False), Checked("c=b", 1, True), Checked("r=c", 0, True)]
    )
    assert (stray.level, stray.text) == (
        WARNING,
        "3 permits are held by jobs that no worker has: a:x, b",
    )
    assert (stuck.level, stuck.text.rpartition(": ")[2]) == (PROBLEM, "b, c")
    assert stray.fix
    assert stuck.fix
    (lost,) = on_limits([], ["backlog:default sync c=sync:a"])
    assert (lost.level, lost.text.endswith(": default sync c=sync:a")) == (PROBLEM, True)
    assert lost.fix


def worker(name: str, rules: bytes) -> WorkerInfo:
    """A worker with these rules."""
    return parse_worker(name, "1 5000", b'{"limits":%b}' % rules, NOW)


def test_rules_that_differ() -> None:
    """Each limit of which living workers have several rules is named with them."""
    old, new = worker("a", b'{"c=x":"1","r=x":"5 1000 5"}'), worker("b", b'{"c=x":"2"}')
    assert [one.level for one in on_rules([old, old, worker("c", b"{}")])] == [OK]
    (found,) = on_rules([old, new])
    assert found.level == WARNING
    assert found.text.endswith(": x is Concurrency(1), Rate('5/s') and Concurrency(2)")
