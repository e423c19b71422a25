"""What the doctor makes of what it sees."""

from aiostreamq import Pause
from aiostreamq.client.doctor import OK, PROBLEM, WARNING, Finding, on_latency, on_work
from aiostreamq.store.inspect.snapshot import LaneView, View

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
