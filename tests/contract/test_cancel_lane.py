"""cancel_lane: the jobs of a lane are cancelled part by part, without being named."""

from collections.abc import Sequence
from typing import cast

import orjson
import pytest

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.store import cancellation
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from tests.support.ends import recent, states
from tests.support.store import ENVELOPE, Store

BOTH = ("queued", "running")


async def cancel_lane(
    store: Store,
    wanted: Sequence[str] = BOTH,
    *,
    lane: str = "default",
    before_ms: int | None = None,
    task: str | None = None,
) -> tuple[int, int, int]:
    """Cancel part by part; returns how many were queued and running, and the number of parts."""
    stream, first = store.keys.stream(lane), "-"
    queued = running = parts = 0
    while first:
        part = await Cancellation(store.queue).cancel_part(
            stream, first, "+", LaneFilter(wanted, before_ms, task)
        )
        queued, running, parts = queued + part.queued, running + part.running, parts + 1
        first = part.last and f"({part.last}"
    return queued, running, parts


async def is_cancelled(store: Store, job_id: str) -> bool:
    """Whether a job was cancelled: it has ended, or its worker was asked to end it."""
    return await store.call("HGET", store.keys.job(job_id), "c") is not None


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 200])
@pytest.mark.parametrize("limit", [1, 8, 150])
async def test_all_of_a_lane(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int, limit: int
) -> None:
    """In parts of a limited length, each job is cancelled and counted once; other lanes stay."""
    monkeypatch.setattr(cancellation, "LANE_LIMIT", limit)
    ids = [f"j{number}" for number in range(count)]
    await store.enqueue(*ids)
    await store.enqueue("elsewhere", lane="slow")
    queued, running, parts = await cancel_lane(store)
    assert (queued, running) == (count, 0)
    assert parts <= count // limit + 1
    assert await states(store) == ({("size", "cancelled"): count} if count else {})
    assert sorted(one.id for one in await recent(store)) == sorted(ids)
    assert await store.results.job_state("elsewhere") == b"queued"
    assert (await cancel_lane(store))[:2] == (0, 0), "as after a lost reply"
    assert await store.call("ZCARD", store.keys.cancelled) == count


@pytest.mark.parametrize("wanted", [("queued",), ("running",), BOTH])
async def test_by_state(store: Store, wanted: tuple[str, ...]) -> None:
    """Jobs that wait have ended; the workers of those that run are asked."""
    await store.enqueue(*"abcde")
    await store.read(count=2)
    queued, running, _ = await cancel_lane(store, wanted)
    assert queued == (3 if "queued" in wanted else 0)
    assert running == (2 if "running" in wanted else 0)
    for job_id in "abcde":
        state = "running" if job_id in "ab" else "queued"
        assert await is_cancelled(store, job_id) == (state in wanted)
    messages = await store.stream_at(store.keys.control)
    assert len(messages) == (1 if "running" in wanted else 0)
    again = (0, running)  # a repeated request sends the message again: it may have been missed
    assert (await cancel_lane(store, wanted))[:2] == again


@pytest.mark.parametrize("mark", [WaiterMode.NOBODY, WaiterMode.CALLER, WaiterMode.NO_RESULT])
@pytest.mark.parametrize("is_returned", [False, True])
async def test_as_by_its_id(store: Store, mark: str, *, is_returned: bool) -> None:
    """It leaves what `cancel` leaves, whether or not a caller waits, or the job has run before."""
    left: list[object] = []
    for by_id in (True, False):
        await store.call("FLUSHALL")
        await store.queue.create_groups(store.link)
        await store.enqueue("a", mark=mark)
        if is_returned:
            await store.deliveries.requeue(await store.read())
        if by_id:
            assert await Cancellation(store.queue).cancel(["a"]) == [b"queued"]
        else:
            lane = "returned" if is_returned else "default"
            assert (await cancel_lane(store, lane=lane))[:2] == (1, 0)
        fields = cast("list[bytes]", await store.call("HGETALL", store.keys.job("a")))
        left.append([
            {k: v for k, v in zip(fields[::2], fields[1::2], strict=True) if k != b"e"},
            await store.call("GET", store.keys.result("a")),
            await store.list_at(store.keys.inbox("me")),
            {name for name in await store.key_names() if not name.startswith("stats:")},
            await states(store),
        ])  # fmt: skip
    assert left[0] == left[1]


@pytest.mark.parametrize(
    ("envelope", "task"),
    [
        (b'{"task":"size","args":[]}', "size"),
        (b'{"args":["task"],"task":"size"}', "size"),
        (b'{"task":"si\\u007ae"}', "size"),
        (b'{"args":[{"task":"size"}],"task":"other"}', "other"),
        (b'{"task":7}', None),
        (b"[1]", None),
        (b"{", None),
        (b"", None),
    ],
)
async def test_by_task(store: Store, envelope: bytes, task: str | None) -> None:
    """The name is found wherever the envelope has it; without a name, no task fits."""
    await store.enqueue("a", envelope=envelope)
    for other in ("siz", "other.task", "7"):
        assert (await cancel_lane(store, task=other))[:2] == (0, 0)
    if task:
        assert (await cancel_lane(store, task=task))[:2] == (1, 0)
    else:
        assert (await cancel_lane(store, task="size"))[:2] == (0, 0)
        assert (await cancel_lane(store))[:2] == (1, 0)


async def test_by_age(store: Store) -> None:
    """Only those that were put there before a moment."""
    await store.enqueue("a", "b")
    entries = cast(
        "list[tuple[bytes, object]]",
        await store.call("XRANGE", store.keys.stream("default"), "-", "+"),
    )
    begun, *_, ended = (int(entry.partition(b"-")[0]) for entry, _ in entries)
    assert (await cancel_lane(store, before_ms=begun))[:2] == (0, 0)
    assert (await cancel_lane(store, before_ms=ended + 1))[:2] == (2, 0)


async def test_large_payloads(store: Store) -> None:
    """A call ends when it has seen many bytes."""
    large = ENVELOPE[:-1] + b',"x":"' + b"x" * 200_000 + b'"}'
    for number in range(6):
        await store.enqueue(f"large{number}", envelope=large)
    assert await cancel_lane(store) == (6, 0, 3)


async def test_entries_that_are_not_the_jobs(store: Store) -> None:
    """Entries of other programs are left alone, and those that a job has left or never had."""
    await store.enqueue("a", "ended", "moved")
    first, ended, moved = await store.read()
    await store.settle(ended)
    await store.deliveries.requeue([moved])
    stream = store.keys.stream("default")
    await store.call("XADD", stream, "*", "what", "else")
    await store.call("XADD", stream, "*", "id", "moved", "n", "1", "job", ENVELOPE)
    await store.call("XADD", stream, "*", "id", "unknown", "n", "1", "job", ENVELOPE)
    assert (await cancel_lane(store))[:2] == (0, 1)
    assert await is_cancelled(store, first.job_id)
    assert await store.results.job_state("moved") == b"queued"
    assert (await cancel_lane(store, lane="returned"))[:2] == (1, 0)


async def test_outcome_of_an_earlier_end(store: Store) -> None:
    """A job with an outcome has ended, whatever else is left of it."""
    await store.enqueue("a", "b")
    kept = b'{"state":"done","n":1}'
    await store.call("SET", store.keys.result("a"), kept)
    assert (await cancel_lane(store))[:2] == (1, 0)
    assert await store.call("GET", store.keys.result("a")) == kept
    assert orjson.loads(cast("bytes", await store.call("GET", store.keys.result("b"))))
