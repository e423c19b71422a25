"""The end of a job puts its callback into its lane, once, in the same step."""

import orjson
import pytest

from aiostreamq.model.callbacks import Callback
from aiostreamq.model.delivery import Delivery, Settlement, WaiterMode
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.cancellation import Cancellation
from tests.support.store import HOUR_MS, Store, outcome_of

JOB = '{"task":"notify","args":["é"]}'
CALLBACK = Callback("success", "slow", WaiterMode.NOBODY, JOB)

#: A parent whose envelope has a callback, for scripts that read it there.
PARENT = orjson.dumps(
    {
        "task": "size",
        "args": [1],
        "on_failure": {"task": "notify", "lane": "slow", "mark": "0", "job": JOB},
    }
)


def ending(delivery: Delivery, callback: Callback | None = CALLBACK) -> Settlement:
    """Return the end of a delivery."""
    return Settlement(delivery, HOUR_MS, outcome_of(delivery), callback=callback)


async def called(store: Store) -> dict[str, dict[str, object]]:
    """Return the calls of the jobs in lane "slow", by id."""
    entries = await store.stream_at(store.keys.stream("slow"))
    return {entry["id"]: orjson.loads(entry["job"]) for entry in entries}


def call_for(parent: str) -> dict[str, object]:
    """Return the call that follows the end of a job."""
    return {**orjson.loads(JOB), "parent": parent}


async def test_each_end_has_its_own(store: Store) -> None:
    """Jobs with callbacks and jobs without end together; each callback knows its job."""
    deliveries = [await store.deliver(job_id) for job_id in ("a", "b", "c")]
    batch = [
        ending(deliveries[0]),
        ending(deliveries[1], None),
        ending(deliveries[2], CALLBACK._replace(when="failure")),
    ]
    settled = await store.deliveries.settle(batch, "w1")
    assert (settled.refused, list(settled.ended)) == ([], batch)
    assert await called(store) == {"a.success": call_for("a"), "c.failure": call_for("c")}
    for delivery in deliveries:
        assert await store.results.job_state(delivery.job_id) == outcome_of(delivery)


async def test_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply adds nothing, also when the callback has ended."""
    batch = [ending(await store.deliver("a"))]
    await store.deliveries.settle(batch, "w1")
    assert (await store.deliveries.settle(batch, "w1")).refused == []
    (callback,) = await store.read("w1")
    await store.settle(callback)
    assert (await store.deliveries.settle(batch, "w1")).refused == []
    assert await called(store) == {}


async def test_refused(store: Store) -> None:
    """A worker that has lost the job calls nothing."""
    late = await store.deliver("a")
    await store.deliveries.requeue([late])
    (present,) = await store.read("w2")
    assert (await store.deliveries.settle([ending(late)], "w1")).refused == [late]
    assert await called(store) == {}
    await store.deliveries.settle([ending(present)], "w2")
    assert await called(store) == {"a.success.2": call_for("a")}


async def test_cancelled(store: Store) -> None:
    """A job that has ended as cancelled on its way to the worker calls nothing."""
    await store.enqueue("a")
    await Cancellation(store.queue).cancel(["a"])
    (delivery,) = await store.read()
    await store.deliveries.settle([ending(delivery)], "w1")
    assert await called(store) == {}


@pytest.mark.parametrize("taken", ["job", "result"])
async def test_id_is_taken(store: Store, taken: str) -> None:
    """A job of an earlier parent with the same id hides no callback."""
    earlier = await store.deliver("a.success")
    if taken == "result":
        await store.settle(earlier)
    delivery = await store.deliver("a")
    await store.deliveries.settle([ending(delivery)], "w1")
    assert await called(store) == {f"a.success.{delivery.entry.decode()}": call_for("a")}


@pytest.mark.parametrize("parent", ["x" * 256, "é" * 256, 'a"b\\c'])
async def test_any_parent(store: Store, parent: str) -> None:
    """The id of a callback is valid for any id of its job, which it knows."""
    await store.deliveries.settle([ending(await store.deliver(parent))], "w1")
    ((job_id, call),) = (await called(store)).items()
    assert len(job_id) <= 256
    assert call["parent"] == parent


async def test_result_is_not_kept(store: Store) -> None:
    """A callback whose task keeps no result is marked as any other such job."""
    callback = CALLBACK._replace(mark=WaiterMode.NO_RESULT)
    await store.deliveries.settle([ending(await store.deliver("a"), callback)], "w1")
    assert (await store.hash_at(store.keys.job("a.success")))["k"] == "0"


async def test_overwritten_lane(store: Store) -> None:
    """If another program has overwritten its lane, all workers are offered it."""
    delivery = await store.deliver("a")
    await store.call("SET", store.keys.stream("slow"), "hello")
    await store.deliveries.settle([ending(delivery)], "w1")
    assert await store.results.job_state("a") == outcome_of(delivery)
    (entry,) = await store.stream_at(store.keys.stream("returned"))
    assert entry["id"] == "a.success"
    assert (await store.hash_at(store.keys.job("a.success")))["s"] == "returned"


async def test_poison(store: Store) -> None:
    """A job that is given up because its workers died calls its callback for failures."""
    await store.enqueue("a", envelope=PARENT)
    await store.workers.join("w1", 1000)
    await store.read("w1")
    await store.workers.recover("w1", "0 1000", 1)
    assert await called(store) == {"a.failure": call_for("a")}
    await store.workers.recover("w1", "0 1000", 1)
    assert len(await called(store)) == 1


async def test_unreadable(store: Store) -> None:
    """So does a job whose call cannot be read, if its callback can."""
    await store.enqueue("a", envelope=PARENT[:-1] + b',"timeout":"soon"}')
    (delivery,) = await store.read("w1")
    bad = [(delivery.stream, delivery.entry)]
    for _ in range(2):
        await store.deliveries.dead_letter_unreadable(bad, encode_unreadable("why"), "w1")
    assert await called(store) == {"a.failure": call_for("a")}


@pytest.mark.parametrize(
    "envelope",
    [
        b'{"task":"size","args":["\\"on_failure\\""]}',
        b'{"task":"size","on_failure":7}',
        b'{"task":"size","on_failure":{"lane":7,"job":"{}"}}',
        b'{"task":"size","on_failure":{"lane":"slow"}}',
        b'{"task":"size","on_failure":',
        b'"on_failure"',
    ],
)
async def test_nothing_to_call(store: Store, envelope: bytes) -> None:
    """A callback that cannot be read does not keep its job from its end."""
    await store.enqueue("a", envelope=envelope)
    await store.workers.join("w1", 1000)
    await store.read("w1")
    assert (await store.workers.recover("w1", "0 1000", 1)).given_up == 1
    assert await called(store) == {}
