"""Cancelling, by where a job is; and nothing brings a cancelled one back to life."""

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement, WaiterMode
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW, RETURNED
from aiostreamq.model.outcome import (
    encode_ended,
)
from aiostreamq.store.cancellation import KEEP_CANCELLED_MS, Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.deliveries import ID_MS
from aiostreamq.store.results import Subscription
from tests.support.ends import recent, states
from tests.support.store import DEADLINE, ENVELOPE, HOUR_MS, Store, outcome_of

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Reply

STREAMS = {f"stream:{name}" for name in ("default", "slow", RETURNED, *OVERFLOW.values(), ADMITTED)}
NAMED = b'{"task":"size","result_ttl":120}'


async def cancel(store: Store, *ids: str, states: tuple[str, ...] = ()) -> list[str | None]:
    """Cancel; returns how the jobs were caught."""
    found = await Cancellation(store.queue).cancel(ids, states)
    return [None if one is None else one.decode() for one in found]


async def delay(store: Store, job_id: str, mark: str = WaiterMode.NOBODY) -> None:
    """Keep a job for later."""
    jobs = [(job_id, "slow", mark, "+99999", NAMED)]
    await store.delayed.delay(jobs, "me", DEADLINE)


async def park(store: Store, job_id: str, mark: str = WaiterMode.NOBODY) -> None:
    """Set a job aside."""
    delivery = await store.deliver(job_id, mark=mark)
    await store.parking.park([(delivery, "t")])


async def enqueue(store: Store, job_id: str, mark: str = WaiterMode.NOBODY) -> None:
    """Have a job wait."""
    await store.enqueue(job_id, mark=mark, envelope=NAMED)


WAITING = pytest.mark.parametrize(
    ("put", "state"), [(delay, "delayed"), (park, "parked"), (enqueue, "queued")]
)
Put = Callable[[Store, str, str], Awaitable[None]]


async def outcome_at(store: Store, job_id: str) -> dict[str, object] | None:
    """The outcome of a job."""
    kept = cast("bytes | None", await store.call("GET", store.keys.result(job_id)))
    return None if kept is None else orjson.loads(kept)


async def key_names(store: Store) -> set[str]:
    """The names of all keys, but for those that count what ended."""
    return {
        one for one in await store.key_names() if not one.startswith(("stats:", "recent", "totals"))
    }


async def assert_cancelled_once(store: Store, *ids: str) -> None:
    """Fail unless these jobs are counted and listed, each once, as cancelled and never run."""
    assert await states(store) == {("size", "cancelled"): len(ids)}
    assert sorted(await recent(store)) == [(i, "size", JobState.CANCELLED, None) for i in ids]


def ends_of(*deliveries: Delivery) -> list[Settlement]:
    """What a worker tells that knows of no cancelling."""
    return [Settlement(one, HOUR_MS, outcome_of(one)) for one in deliveries]


async def lag(store: Store, lane: str = "default") -> int | None:
    """The lag of a lane's group, as autoscalers see it."""
    ((*flat,),) = cast("list[list[bytes]]", await store.call(
        "XINFO", "GROUPS", store.keys.stream(lane)))  # fmt: skip
    told = dict(zip(flat[::2], flat[1::2], strict=True))
    return cast("int | None", told.get(b"lag"))


@WAITING
async def test_waiting(store: Store, put: Put, state: str) -> None:
    """It has ended when the call returns: its outcome is kept, who waits is told, its id taken."""
    await put(store, "a", WaiterMode.CALLER)
    assert await cancel(store, "a") == [state]
    told = await outcome_at(store, "a")
    assert told is not None
    assert (told["state"], told["n"]) == ("cancelled", 0)
    (notice,) = await store.list_at(store.keys.inbox("me"))
    assert notice.startswith(b'a {"state":"cancelled"')
    assert await store.enqueue("a") == {0}
    status = await store.results.job_state("a")
    assert status is not None
    assert orjson.loads(status)["state"] == "cancelled"
    (known,) = await store.results.subscribe("me", ["a"])
    assert known == status
    await assert_cancelled_once(store, "a")


@WAITING
async def test_waiting_without_result(store: Store, put: Put, state: str) -> None:
    """Nobody is told, but it is known to be cancelled while its id is taken."""
    await put(store, "a", WaiterMode.NO_RESULT)
    assert await cancel(store, "a") == [state]
    assert await outcome_at(store, "a") is None
    assert await store.results.job_state("a") == b"cancelled"
    assert await store.results.subscribe("me", ["a"]) == [Subscription.NO_RESULT]
    assert await cancel(store, "a") == ["cancelled"]
    await assert_cancelled_once(store, "a")


@pytest.mark.parametrize("put", [delay, park])
async def test_nothing_is_left(store: Store, put: Put) -> None:
    """What was in no lane is gone at once, but for what expires."""
    await put(store, "a", WaiterMode.NOBODY)
    await cancel(store, "a")
    assert await key_names(store) - {"control"} == STREAMS | {"job:a", "result:a"}
    assert ID_MS - 5_000 < await store.pttl(store.keys.job("a")) <= ID_MS
    assert await store.parking.unpark(["t"]) == 0
    assert (await store.delayed.promote())[0] == 0


async def test_how_long_the_outcome_is_kept(store: Store) -> None:
    """As long as the call itself said, else an hour."""
    await store.enqueue("said", envelope=NAMED)
    await store.enqueue("unsaid", envelope=ENVELOPE)
    await store.enqueue("odd", envelope=b'{"result_ttl')
    assert await cancel(store, "said", "unsaid", "odd") == ["queued"] * 3
    assert 115_000 < await store.pttl(store.keys.result("said")) <= 120_000
    for job_id in ("unsaid", "odd"):
        left = await store.pttl(store.keys.result(job_id))
        assert KEEP_CANCELLED_MS - 5_000 < left <= KEEP_CANCELLED_MS
    assert (await outcome_at(store, "said") or {})["task"] == "size"


async def test_queued_entry_is_met(store: Store) -> None:
    """Its entry stays until a worker is sent it, who is told not to run it, and ends it."""
    await store.enqueue("before", "a", "after")
    assert await cancel(store, "a") == ["queued"]
    kept = await outcome_at(store, "a")
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert [one.job_id for one in read.deliveries] == ["before", "a", "after"]
    assert [one.job_id for one in read.cancelled] == ["a"]
    own = await store.deliveries.read_own(store.link, "w1", 10)
    assert [one.job_id for one in own.cancelled] == ["a"]
    before, thrown_away, after = ends_of(*read.deliveries)
    for _ in range(2):  # the reply may be lost
        settled = await store.deliveries.settle([before, thrown_away, after], "w1")
        assert settled == ([], [before, after])
    assert await outcome_at(store, "a") == kept
    await assert_cancelled_once(store, "a")
    ended = {f"result:{job_id}" for job_id in ("before", "a", "after")}
    assert await key_names(store) == STREAMS | ended | {"job:a"}
    assert ID_MS - 5_000 < await store.pttl(store.keys.job("a")) <= ID_MS
    assert not (await store.deliveries.read(store.link, "w1", 10, None)).cancelled


async def test_lag_stays_known(store: Store) -> None:
    """However many are cancelled in the middle, Redis can tell how many wait."""
    await store.enqueue(*"abcdef")
    await store.settle(*await store.read(count=1))
    before = await lag(store)
    assert await cancel(store, "c", "e") == ["queued", "queued"]
    assert await lag(store) == before
    await store.settle(*await store.read(count=2))
    if before is not None:  # fakeredis does not say
        assert before == 5
        assert await lag(store) == 3


async def test_running(store: Store) -> None:
    """Its worker is told; what it makes of it is the job's end."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    end = await ControlStream(store.queue).end()
    assert await cancel(store, "a") == ["running"]
    assert await store.results.job_state("a") == b"running"
    assert await outcome_at(store, "a") is None
    control = ControlStream(store.queue)
    _, (word,) = await control.listen(store.link, end, 1000)
    assert word["say"] == "cancel"
    assert Cancellation(store.queue).entries_in(word) == [(delivery.stream, delivery.entry)]
    assert await Cancellation(store.queue).cancelled_among(["a", "b"]) == {"a"}
    assert await cancel(store, "a") == ["running"]
    assert await states(store) == {}, "its worker will tell how it ended"
    outcome = encode_ended("size", 1, JobState.CANCELLED)
    assert (
        await store.deliveries.settle([Settlement(delivery, 99_000, outcome)], "w1")
    ).refused == []
    assert await store.call("GET", store.keys.result("a")) == outcome
    assert await Cancellation(store.queue).cancelled_among(["a", "b"]) == set()
    assert await key_names(store) - {"control"} == STREAMS | {"result:a", "inbox:me"}


async def test_came_to_its_end_first(store: Store) -> None:
    """A running job that has a value after all is done."""
    delivery = await store.deliver("a")
    await cancel(store, "a")
    assert await store.settle(delivery) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(delivery)
    assert await store.call("EXISTS", store.keys.cancelled) == 0


async def test_words_of_other_lanes(store: Store) -> None:
    """A word may name lanes that this worker's queue has not got, or be nonsense."""
    steering = Cancellation(store.queue)
    assert steering.entries_in({"entries": "elsewhere 1-1 slow 2-2 default"}) == [(3, b"2-2")]
    assert steering.entries_in({}) == []


async def retry_now(store: Store, one: Delivery) -> None:
    """It raised, and runs again."""
    await store.delayed.retry([RetryRequest(one, 0)])


async def retry_later(store: Store, one: Delivery) -> None:
    """The same, later."""
    await store.delayed.retry([RetryRequest(one, 9999)])


async def hand_back(store: Store, one: Delivery) -> None:
    """Its worker stops."""
    await store.deliveries.requeue([one])


async def set_aside(store: Store, one: Delivery) -> None:
    """Its task is not known."""
    await store.parking.park([(one, "t")])


async def bury(store: Store, one: Delivery) -> None:
    """It cannot be read."""
    await store.deliveries.dead_letter_unreadable(
        [(one.stream, one.entry)], b'{"state":"dead","n":0}', "w1"
    )


async def reap(store: Store, _one: Delivery) -> None:
    """Its worker is dead."""
    await store.workers.register_strays(1000)
    beats = await store.hash_at(store.keys.workers)
    await store.workers.recover("w1", beats["w1"], 3)


@pytest.mark.parametrize("was", ["queued", "running"])
@pytest.mark.parametrize("move", [retry_now, retry_later, hand_back, set_aside, bury, reap])
async def test_stays_cancelled(
    store: Store, move: Callable[[Store, Delivery], Awaitable[None]], was: str
) -> None:
    """Whatever else is done with its delivery, it is not run again, and ends as cancelled."""
    await store.enqueue("a", mark=WaiterMode.CALLER)
    if was == "queued":
        await cancel(store, "a")
    (delivery,) = await store.read()
    if was == "running":
        await cancel(store, "a")
    await move(store, delivery)
    await assert_cancelled_once(store, "a")
    assert (await store.deliveries.settle(ends_of(delivery), "w1")).ended == []
    assert (await outcome_at(store, "a") or {})["state"] == "cancelled"
    assert len(await store.list_at(store.keys.inbox("me"))) == 1
    for name in ("stream:returned", "stream:default", "parked:t"):
        assert await store.stream_at(store.keys.prefix + name) == []
    assert await store.pending() == 0
    left = await key_names(store) - {"dead", "control", "inbox:me"}
    assert left == STREAMS | {"job:a", "result:a"}
    assert ID_MS - 5_000 < await store.pttl(store.keys.job("a")) <= ID_MS


async def test_ended(store: Store) -> None:
    """It stays what it is, and that is told."""
    delivery = await store.deliver("a")
    await store.settle(delivery)
    assert await cancel(store, "a", "unknown") == [outcome_of(delivery).decode(), None]
    await store.settle(await store.deliver("b"), keep_ms=0)
    assert await cancel(store, "unknown", "b", "unknown") == [None, "done", None]


@WAITING
async def test_repeated(store: Store, put: Put, state: str) -> None:
    """A second call, as after a lost reply, finds it ended."""
    await put(store, "a", WaiterMode.CALLER)
    await cancel(store, "a")
    keys = await key_names(store)
    (again,) = await cancel(store, "a")
    assert again is not None
    assert orjson.loads(again)["state"] == "cancelled"
    assert await key_names(store) == keys
    assert len(await store.list_at(store.keys.inbox("me"))) == 1
    await assert_cancelled_once(store, "a")


async def test_only_in_some_states(store: Store) -> None:
    """Those in other states are left alone."""
    await delay(store, "later")
    await park(store, "parked")
    await store.deliver("runs")
    await store.enqueue("waits")
    ids = ("later", "parked", "runs", "waits")
    states = ["delayed", "parked", "running", "queued"]
    assert await cancel(store, *ids, states=("none",)) == states
    assert [(await store.results.job_state(one) or b"").decode() for one in ids] == states
    assert await store.call("EXISTS", store.keys.cancelled) == 0
    assert await cancel(store, *ids, states=("queued", "delayed")) == states
    assert await outcome_at(store, "waits")
    assert await outcome_at(store, "later")
    assert await store.results.job_state("parked") == b"parked"
    assert await store.call("ZCARD", store.keys.cancelled) == 1


async def test_more_than_one_call_takes(store: Store) -> None:
    """Any number may be cancelled at once."""
    ids = [f"j{number}" for number in range(230)]
    await store.enqueue(*ids)
    assert await cancel(store, *ids, "unknown") == ["queued"] * 230 + [None]
    await assert_cancelled_once(store, *sorted(ids))
    assert await store.call("XLEN", store.keys.recent) == 3


async def test_stream_is_gone(store: Store) -> None:
    """A job without its entry has ended, and nothing is remembered of it for ever."""
    await store.enqueue("a", "b")
    await cancel(store, "a")
    await store.call("DEL", store.keys.stream("default"))
    assert await cancel(store, "b") == ["queued"]
    assert await states(store) == {("size", "cancelled"): 1, ("", "cancelled"): 1}
    assert [one.id for one in await recent(store)] == ["a", "b"]
    assert await store.call("EXISTS", store.keys.cancelled) == 0
    for job_id in "ab":
        assert 0 < await store.pttl(store.keys.job(job_id)) <= ID_MS


async def test_letter_of_the_same_id(store: Store) -> None:
    """A dead letter is not replayed while a cancelled entry of that id is on its way."""
    (delivery,) = [await store.deliver("a")]
    outcome = encode_ended("size", 1, JobState.DEAD)
    await store.deliveries.settle([Settlement(delivery, 99_000, outcome, is_dead=True)], "w1")
    await store.call("DEL", store.keys.result("a"))
    await store.enqueue("a")
    await cancel(store, "a")
    await store.call("DEL", store.keys.result("a"))
    keys = [store.keys.dead, *store.queue.streams]
    ((letter, _),) = cast(
        "list[tuple[bytes, Reply]]", await store.call("XRANGE", store.keys.dead, "-", "+")
    )
    arguments = [store.keys.prefix, letter, "a", 3, "0", ENVELOPE, b"[]", ""]
    assert await store.queue.run("replay_dead_letters", keys, arguments) == [-1]
    await store.settle(*await store.read())
    assert await store.queue.run("replay_dead_letters", keys, arguments) == [1]
    (again,) = await store.read()
    assert await store.settle(again) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(again)


async def test_pending_of_a_group(store: Store) -> None:
    """Nothing stays pending when all has been met."""
    await store.enqueue(*"abc")
    await cancel(store, *"abc")
    await store.settle(*await store.read())
    found = cast("list[int]", await store.call("XPENDING", store.keys.stream("default"), GROUP))
    assert found[0] == 0
    assert await store.call("XLEN", store.keys.stream("default")) == 0


@pytest.mark.parametrize("seed", range(6))
async def test_any_choice_in_any_order(store: Store, seed: int) -> None:
    """Jobs of several lanes, which wait and run beside others: each by its state."""
    draw = random.Random(seed)
    ids = [f"j{number}" for number in range(60)]
    for job_id in ids:
        await store.enqueue(job_id, lane=draw.choice(["default", "slow"]))
    running = {one.job_id for one in await store.read(count=draw.randint(1, 20))}
    chosen = [draw.choice([*ids, "unknown"]) for _ in range(draw.randint(1, 90))]
    if draw.random() < 0.5:
        chosen.sort(key=[*ids, "unknown"].index)
    expected = ["running" if one in running else "queued" for one in chosen]
    found = await cancel(store, *chosen)
    assert found == [
        None if one == "unknown" else state for one, state in zip(chosen, expected, strict=True)
    ]
    for job_id in ids:
        state = b"running" if job_id in running else b"queued"
        now = await store.results.job_state(job_id)
        is_ended = job_id in chosen and job_id not in running
        assert now == (await store.call("GET", store.keys.result(job_id)) if is_ended else state)
    await assert_cancelled_once(store, *sorted({*chosen} & {*ids} - running))
    marked = cast("list[bytes]", await store.call("ZRANGE", store.keys.cancelled, 0, -1))
    assert {one.decode() for one in marked} == {*chosen} & {*ids}
