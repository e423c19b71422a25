"""A key belongs to one open job: free after every kind of end, and never before."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

import orjson
import pytest

from aiostreamq.errors import AioStreamQError
from aiostreamq.model.delivery import (
    Delivery,
    RetryRequest,
    Settlement,
    UniqueSubmission,
    WaiterMode,
)
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import GROUP
from aiostreamq.model.metadata import HeldKey
from aiostreamq.model.options import QueuePolicy
from aiostreamq.model.outcome import encode_ended, encode_unreadable
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from aiostreamq.store.dead_letters import DeadLetterStore
from aiostreamq.store.deliveries import ID_MS
from aiostreamq.store.enqueue import ENQUEUE_LIMIT
from aiostreamq.store.unique import UNIQUE_LIMIT, free_key
from aiostreamq.worker.leases.status_report import MOST_HELD, MOST_JOBS
from tests.support.ends import recent, states
from tests.support.store import DEADLINE, ENVELOPE, HOUR_MS, Store, calls_of
from tests.support.waiting import wait_until

HELD = HeldKey("k", is_freed_at_start=False)

Step = Callable[[Store], Awaitable[object]]
LeaveStep = Callable[[Store, Delivery], Awaitable[None]]
Calls = Callable[..., Awaitable[list[str | None]]]


async def keys_of(store: Store) -> dict[str, str]:
    """Return what is noted of keys."""
    return await store.hash_at(store.keys.unique)


async def deliver(store: Store) -> Delivery:
    """Give the first job to a worker."""
    (delivery,) = await store.read("w1")
    return delivery


async def settle(store: Store, state: JobState, *, key: HeldKey | None) -> None:
    """End the first job as a worker does; one of an older release knows of no key."""
    delivery, dead = await deliver(store), state in {JobState.FAILED, JobState.DEAD}
    outcome = encode_ended("size", delivery.number, state)
    end = Settlement(delivery, HOUR_MS, outcome, dead, key=key)
    assert (await store.deliveries.settle([end], "w1")).refused == []


async def cancel(store: Store) -> None:
    """Ask for the end of the first job."""
    await Cancellation(store.queue).cancel(["a"])


async def cancel_lane(store: Store) -> None:
    """Ask for the end of all jobs of the lane."""
    wanted = LaneFilter(["queued", "running"], None, None)
    await Cancellation(store.queue).cancel_part(store.keys.stream("default"), "-", "+", wanted)


async def cancel_running(store: Store) -> None:
    """Ask for the end of a job that runs, which its worker then reports."""
    delivery = await deliver(store)
    await cancel(store)
    assert await store.enqueue_unique("k", "early") == ["a"], "it has not ended yet"
    await store.settle(delivery)


async def lose_worker(store: Store) -> None:
    """Give up the first job, as its worker has died."""
    await store.workers.join("w1", 1000)
    await deliver(store)
    assert (await store.workers.recover("w1", "0 1000", 1)).given_up == 1


async def find_unreadable(store: Store) -> None:
    """Give up the first job, as it cannot be read."""
    delivery = await deliver(store)
    bad = [(delivery.stream, delivery.entry)]
    await store.deliveries.dead_letter_unreadable(bad, encode_unreadable("why"), "w1")


async def park(store: Store) -> None:
    """Set the first job aside."""
    await store.parking.park([(await deliver(store), "size")])


async def retry(store: Store) -> None:
    """Have the first job run again, later."""
    await store.delayed.retry([RetryRequest(await deliver(store), HOUR_MS)])


async def retry_at_once(store: Store) -> None:
    """Have the first job run again."""
    await store.delayed.retry([RetryRequest(await deliver(store), 0)])


async def requeue(store: Store) -> None:
    """Give the first job back."""
    await store.deliveries.requeue([await deliver(store)])


async def recover(store: Store) -> None:
    """Recover the first job from a worker that has died."""
    await store.workers.join("w1", 1000)
    await deliver(store)
    assert (await store.workers.recover("w1", "0 1000", 3)).returned == 1


async def park_and_cancel(store: Store) -> None:
    """Cancel a job that was set aside."""
    await park(store)
    await cancel(store)


async def retry_and_cancel(store: Store) -> None:
    """Cancel a job that waits for its next attempt."""
    await retry(store)
    await cancel(store)


async def retry_cancelled(store: Store) -> None:
    """Have a job run again that was cancelled while it ran."""
    delivery = await deliver(store)
    await cancel(store)
    await store.delayed.retry([RetryRequest(delivery, HOUR_MS)])


async def lose_parked(store: Store) -> None:
    """Lose a job with the place where it was set aside."""
    await park(store)
    await store.call("DEL", store.keys.prefix + "parked:size")


async def lose_delayed(store: Store) -> None:
    """Lose a job with the place where it waits for its time."""
    await retry(store)
    await store.call("DEL", store.keys.delayed)


async def forget(store: Store) -> None:
    """Lose all that is known of a job."""
    await store.call("DEL", store.keys.job("a"))


async def lose_entry(store: Store) -> None:
    """Delete the stream of the first job."""
    await store.call("DEL", store.keys.stream("default"))
    await store.queue.create_groups(store.link)


async def lose_group(store: Store) -> None:
    """Delete the group only."""
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    await store.queue.create_groups(store.link)


async def requeue_first(store: Store, delivery: Delivery) -> None:
    """Give the first job back."""
    await store.deliveries.requeue([delivery])


async def park_first(store: Store, delivery: Delivery) -> None:
    """Set it aside."""
    await store.parking.park([(delivery, "size")])


async def retry_first(store: Store, delivery: Delivery) -> None:
    """Have it run again, later."""
    await store.delayed.retry([RetryRequest(delivery, HOUR_MS)])


async def retry_first_at_once(store: Store, delivery: Delivery) -> None:
    """Have it run again."""
    await store.delayed.retry([RetryRequest(delivery, 0)])


async def end_first(store: Store, delivery: Delivery) -> None:
    """End it."""
    await store.settle(delivery)


async def end_first_without_result(store: Store, delivery: Delivery) -> None:
    """End it, and keep nothing."""
    await store.settle(delivery, keep_ms=0)


async def bury_first(store: Store, delivery: Delivery) -> None:
    """Give it up, as it cannot be read."""
    bad = [(delivery.stream, delivery.entry)]
    await store.deliveries.dead_letter_unreadable(bad, encode_unreadable("why"), "w1")


async def recover_first(store: Store, delivery: Delivery) -> None:
    """Recover it from a worker that has died."""
    await store.workers.join("w1", 1000)
    await store.workers.recover("w1", "0 1000", 3)


#: Steps by which a job leaves its worker, and is open afterwards.
BACK: list[LeaveStep] = [requeue_first, park_first, retry_first, retry_first_at_once]
LEAVE: list[LeaveStep] = [
    *BACK, end_first, end_first_without_result, bury_first, recover_first,
]  # fmt: skip


async def deliver_and(store: Store, *, first: Step, then: LeaveStep) -> None:
    """Have the first job run, and something happen before it leaves its worker."""
    delivery = await deliver(store)
    await first(store)
    await then(store, delivery)


async def delete_letter(store: Store) -> None:
    """Delete the dead letter of a job that has failed."""
    await settle(store, JobState.FAILED, key=None)
    letters = DeadLetterStore(store.queue)
    assert await letters.purge([str(await letters.last_id())]) == 1


async def evict_result(store: Store) -> None:
    """Lose the outcome of a job that has ended."""
    await settle(store, JobState.DONE, key=None)
    await store.call("DEL", store.keys.result("a"))


#: Steps after which the first job is open.
OPEN: dict[str, Step] = {
    **{
        f"{place.__name__}, then {then.__name__}": partial(deliver_and, first=place, then=then)
        for place in (lose_entry, lose_group)
        for then in BACK
    },
    "queued": keys_of,
    "running": deliver,
    "parked": park,
    "retried later": retry,
    "retried at once": retry_at_once,
    "handed back": requeue,
    "recovered": recover,
}

#: Steps after which it has ended.
ENDS: dict[str, Step] = {
    **{
        f"{state.value}{by}": lambda store, state=state, key=key: settle(store, state, key=key)
        for state in (
            JobState.DONE, JobState.FAILED, JobState.DEAD, JobState.DROPPED, JobState.EXPIRED,
            JobState.TIMED_OUT, JobState.CANCELLED,
        )
        for by, key in (("", HELD), (" by an old worker", None))
    },
    "cancelled": cancel,
    "cancelled with its lane": cancel_lane,
    "cancelled while it ran": cancel_running,
    "cancelled while parked": park_and_cancel,
    "cancelled before its retry": retry_and_cancel,
    "cancelled instead of its retry": retry_cancelled,
    "poison": lose_worker,
    "unreadable": find_unreadable,
    **{
        f"{place.__name__}, then {then.__name__}": partial(deliver_and, first=place, then=then)
        for place in (lose_entry, lose_group)
        for then in (end_first, end_first_without_result)
    },
    **{
        f"cancelled, then {then.__name__}": partial(deliver_and, first=cancel, then=then)
        for then in LEAVE
    },
    "its dead letter is deleted": delete_letter,
    "its outcome is evicted": evict_result,
    "parked and lost": lose_parked,
    "delayed and lost": lose_delayed,
    "forgotten": forget,
}  # fmt: skip


@pytest.mark.parametrize("step", OPEN.values(), ids=OPEN)
async def test_open_job_keeps_its_key(store: Store, step: Step) -> None:
    """Wherever a job is, its key is taken until it has ended."""
    assert await store.enqueue_unique("k", "a") == [None]
    await step(store)
    before = await store.key_names()
    assert await store.enqueue_unique("k", "b", "c") == ["a", "a"]
    assert await store.enqueue_unique("other", "d") == [None]
    assert await store.key_names() - before == {"job:d"}


@pytest.mark.parametrize("step", ENDS.values(), ids=ENDS)
async def test_key_is_free_after_each_end(store: Store, step: Step) -> None:
    """However a job ends, the next of its key is new."""
    assert await store.enqueue_unique("k", "a") == [None]
    await step(store)
    assert await store.enqueue_unique("k", "b", "c") == [None, "b"]
    assert await keys_of(store) == {"k": "b"}


@pytest.mark.parametrize("mark", [WaiterMode.NOBODY, WaiterMode.NO_RESULT])
async def test_worker_frees_the_key(store: Store, mark: str) -> None:
    """A queue at rest keeps nothing: the end of a job removes its key, if it holds it."""
    await store.enqueue_unique("k", "a", mark=mark)
    await store.enqueue_unique("kept", "b", mark=mark)
    first, second = await store.read("w1")
    keep_ms = 0 if mark == WaiterMode.NO_RESULT else HOUR_MS
    ends = [
        Settlement(first, keep_ms, b'{"state":"done","n":1}', key=HELD),
        Settlement(
            second, keep_ms, b'{"state":"done","n":1}', key=HeldKey("kept", is_freed_at_start=False)
        ),
    ]
    await store.call("HSET", store.keys.unique, "kept", "another")
    await store.deliveries.settle(ends, "w1")
    assert await keys_of(store) == {"kept": "another"}
    assert (await store.deliveries.settle(ends, "w1")).refused == []


async def test_worker_that_lost_the_job_frees_nothing(store: Store) -> None:
    """Only the end of the job frees its key."""
    await store.enqueue_unique("k", "a")
    late = await deliver(store)
    await store.deliveries.requeue([late])
    end = Settlement(late, HOUR_MS, b'{"state":"done","n":1}', key=HELD)
    assert (await store.deliveries.settle([end], "w1")).refused == [late]
    assert await keys_of(store) == {"k": "a"}


@pytest.mark.parametrize("damage", ["SET", "XADD"])
async def test_key_of_another_type(store: Store, damage: str) -> None:
    """A job ends although another program has overwritten the keys."""
    await store.enqueue_unique("k", "a")
    delivery = await deliver(store)
    await store.call("DEL", store.keys.unique)
    value = ("v",) if damage == "SET" else ("*", "f", "v")
    await store.call(damage, store.keys.unique, *value)
    end = Settlement(delivery, HOUR_MS, b'{"state":"done","n":1}', key=HELD)
    assert (await store.deliveries.settle([end], "w1")).refused == []


async def test_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply adds nothing, and no job meets itself."""
    assert await store.enqueue_unique("k", "a", "b") == [None, "a"]
    assert await store.enqueue_unique("k", "a", "b") == ["", "a"]
    await settle(store, JobState.DONE, key=HELD)
    assert await store.enqueue_unique("k", "a") == [""]
    assert await store.enqueue_unique("k", "b") == [None]


async def test_what_is_stored(store: Store) -> None:
    """The job is stored as every other one."""
    await store.enqueue("plain", lane="slow", mark=WaiterMode.CALLER)
    await store.enqueue_unique("k", "keyed", lane="slow", mark=WaiterMode.CALLER)
    plain, keyed = await store.stream_at(store.keys.stream("slow"))
    assert keyed == {**plain, "id": "keyed"}
    hashes = [await store.hash_at(store.keys.job(one)) for one in ("plain", "keyed")]
    assert [{**one, "e": ""} for one in hashes] == [{"e": "", "w": "me", "s": "slow"}] * 2


@pytest.mark.parametrize("due", ["+60000", "99999999999999"])
async def test_later(store: Store, due: str) -> None:
    """A delayed job holds its key, and needs no room."""
    await store.enqueue("full")
    assert await store.enqueue_unique("k", "a", due=due, max_length=1) == [None]
    assert await store.results.job_state("a") == b"delayed"
    assert await store.enqueue_unique("k", "b") == ["a"]
    await cancel(store)
    assert await store.enqueue_unique("k", "b") == [None]


async def test_full_lane(store: Store) -> None:
    """A job without room does not take its key; a key that is taken needs no room."""
    assert await store.enqueue_unique("k", "a", max_length=1) == [None]
    assert await store.enqueue_unique("other", "b", max_length=1) == ["full"]
    assert await store.enqueue_unique("k", "c", max_length=1) == ["a"]
    assert await keys_of(store) == {"k": "a"}


async def test_lane_full_of_bytes(store: Store) -> None:
    """A lane that is bounded in bytes takes a first job of any size, and no more than fits."""
    most = 3 * len(ENVELOPE) - 1
    large, small = ENVELOPE + b" " * 100, ENVELOPE
    assert await store.enqueue_unique("a", "a", envelope=large, max_bytes=most) == [None]
    assert await store.enqueue_unique("b", "b", max_bytes=most) == ["full"]
    await store.settle(await deliver(store))
    for job_id, answer in (("c", None), ("d", None), ("e", "full")):
        found = await store.enqueue_unique(job_id, job_id, envelope=small, max_bytes=most)
        assert found == [answer]
    assert await store.enqueue_unique("c", "f", max_bytes=most) == ["c"]
    assert await store.enqueue_unique("e", "e", due="+1000", max_bytes=most) == [None]


def ignore(holder: str) -> None:
    """Take a holder as it is."""


async def test_clients_wait_in_line(store: Store) -> None:
    """A client that waits for room learns how many are ahead, and a taken key needs no turn."""
    policy = QueuePolicy(1 << 20, DEADLINE, max_length=2, waits_when_full=True)
    place = store.queue.place_of("default")

    async def ask(inbox: str, key: str, waited_ms: int) -> tuple[set[int], set[int], int]:
        job = UniqueSubmission(
            f"{inbox}-{key}", place, "0", "", "done return 0 0 0", key, ignore, ENVELOPE
        )
        found = await store.unique.enqueue([job], inbox, policy, waited_ms)
        return found.taken, found.full, found.ahead

    await store.enqueue_unique("k", "a")
    await store.enqueue("b")
    assert await ask("one", "x", 900) == (set(), {0}, 0)
    assert await ask("two", "y", 100) == (set(), {0}, 1)
    assert (await ask("two", "k", 100))[0] == {0}
    await store.settle((await store.read("w1"))[0])
    assert (await ask("two", "y", 101))[1] == {0}, "it is not its turn"
    assert await ask("one", "x", 901) == (set(), set(), 0)


@pytest.mark.parametrize("mark", [WaiterMode.NOBODY, WaiterMode.CALLER, WaiterMode.NO_RESULT])
async def test_drop(store: Store, mark: str) -> None:
    """The second job ends at once, is counted, and its caller is notified."""
    await store.enqueue_unique("k", "a")
    assert await store.enqueue_unique("k", "b", rule="done drop", mark=mark) == [None]
    assert await store.enqueue_unique("k", "b", rule="done drop", mark=mark) == [""]
    assert len(await store.read()) == 1
    assert await states(store) == {("size", "dropped"): 1}
    assert await recent(store) == [("b", "size", JobState.DROPPED, None)]
    notices = await store.list_at(store.keys.inbox("me"))
    assert len(notices) == (mark == WaiterMode.CALLER)
    state = await store.results.job_state("b")
    if mark == WaiterMode.NO_RESULT:
        assert state == b"done"
        assert 0 < await store.pttl(store.keys.job("b")) <= ID_MS
    else:
        assert orjson.loads(state or b"") == {
            "state": "dropped", "n": 0, "task": "size",
            "error": {"type": "Drop", "message": "job a has the same key", "traceback": ""},
        }  # fmt: skip


#: Steps after which the first job can be replaced, and its state then.
REPLACED: dict[str, tuple[Step, bytes]] = {
    **{name: (step, b"cancelled") for name, step in OPEN.items() if name != "running"},
    "running": (deliver, b"running"),
    "its entry is gone": (lose_entry, b"cancelled"),
}


@pytest.mark.parametrize(("step", "state"), REPLACED.values(), ids=REPLACED)
async def test_replace(store: Store, step: Step, state: bytes) -> None:
    """The holder is cancelled wherever it is, and the new job has the key, in one step."""
    await store.enqueue_unique("k", "a", mark=WaiterMode.CALLER)
    await step(store)
    for answer in (None, ""):
        assert await store.enqueue_unique("k", "b", rule="done replace") == [answer]
    found = await store.results.job_state("a") or b""
    assert (orjson.loads(found)["state"].encode() if found[:1] == b"{" else found) == state
    assert len(await store.list_at(store.keys.inbox("me"))) == (state == b"cancelled")
    assert await keys_of(store) == {"k": "b"}
    assert await store.enqueue_unique("k", "c") == ["b"]
    if state == b"running":
        assert (await store.hash_at(store.keys.job("a")))["c"]
        (message,) = await store.stream_at(store.keys.control)
        assert message["say"] == "cancel"
    else:
        (kind,) = await states(store)
        assert kind in {("size", "cancelled"), ("", "cancelled")}  # an entry names the task
    assert [one.job_id for one in await store.read("w2") if one.job_id != "a"] == ["b"]


async def test_replace_in_one_call(store: Store) -> None:
    """The last of a batch stays."""
    assert await store.enqueue_unique("k", "a", "b", "c", rule="done replace") == [None] * 3
    assert await states(store) == {("size", "cancelled"): 2}
    assert await keys_of(store) == {"k": "c"}


async def test_nothing_is_replaced_without_room(store: Store) -> None:
    """A job that finds no room leaves the holder alone."""
    await store.enqueue_unique("k", "a")
    found = await store.enqueue_unique("k", "b", rule="done replace", max_length=1)
    assert found == ["full"]
    assert await store.results.job_state("a") == b"queued"
    assert await store.enqueue_unique("k", "c") == ["a"]


async def test_key_of_a_job_that_has_ended_is_not_replaced(store: Store) -> None:
    """Nothing is cancelled then."""
    await store.enqueue_unique("k", "a")
    await store.settle(await deliver(store))
    assert await store.enqueue_unique("k", "b", rule="done replace") == [None]
    assert await states(store) == {}


async def test_entry_is_gone(store: Store) -> None:
    """A job whose stream was deleted keeps its key while a worker may run it, and not for ever."""
    await store.enqueue_unique("k", "a")
    await lose_entry(store)
    assert await store.enqueue_unique("k", "b") == ["a"]
    since = int((await store.hash_at(store.keys.job("a")))["g"])
    await store.call("HSET", store.keys.job("a"), "g", since - 60_000)
    await store.call("HSET", store.keys.workers, "w1", "0 1000")
    await store.call("SET", store.keys.worker("w1"), '{"jobs":[["a","size",1,2]]}')
    assert await store.enqueue_unique("k", "b") == ["a"], "a worker runs it"
    await store.call("DEL", store.keys.worker("w1"))
    assert await store.enqueue_unique("k", "b") == ["a"], "it was reported a moment ago"
    await store.call("HSET", store.keys.job("a"), "g", since - 60_000)
    assert await store.enqueue_unique("k", "b") == [None]


async def lose_and_go_on(store: Store) -> None:
    """Delete the stream of the first job, and have a worker take another one."""
    lost = (await store.hash_at(store.keys.job("a")))["e"]
    await lose_entry(store)
    others = count()

    async def has_later_entry() -> bool:  # one of the same millisecond has the same id
        await store.enqueue(f"other-{next(others)}")
        other = await deliver(store)
        if other.entry.decode().partition("-")[0] == lost.partition("-")[0]:
            await store.settle(other)
            return False
        return True

    await wait_until(has_later_entry, "a job with an id of its own")


async def lose_group_and_go_on(store: Store) -> None:
    """Delete the group only, and have a worker receive the first job again."""
    await deliver(store)
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    assert await store.enqueue_unique("k", "b") == ["a"], "there is no group"
    await store.queue.create_groups(store.link)
    assert await store.enqueue_unique("k", "b") == ["a"], "it was not delivered again"
    await deliver(store)


async def acknowledge(store: Store) -> None:
    """Take the first job from its worker as no program of ours does."""
    delivery = await deliver(store)
    await store.call("XACK", store.keys.stream("default"), GROUP, delivery.entry)


async def damage(store: Store) -> None:
    """Have the place of the first job overwritten."""
    await store.call("HSET", store.keys.job("a"), "e", "?")


@pytest.mark.parametrize("step", [lose_entry, lose_and_go_on, acknowledge, damage])
async def test_lost(store: Store, step: Step) -> None:
    """A job that no worker will get any more holds its key for a minute, not longer."""
    await store.enqueue_unique("k", "a")
    await step(store)
    assert await store.enqueue_unique("k", "b") == ["a"]
    await store.call("HSET", store.keys.job("a"), "g", 1)
    assert await store.enqueue_unique("k", "b", "c") == [None, "b"]


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("step", [*OPEN.values(), lose_group_and_go_on], ids=[*OPEN, "regrouped"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_not_lost(store: Store, step: Step, is_first: bool) -> None:
    """Time alone does not free a key: the place of a job says whether it is lost."""
    if not is_first:  # then something has been delivered in the lane
        await store.enqueue("earlier")
        await store.settle(await deliver(store))
    await store.enqueue_unique("k", "a")
    await store.call("HSET", store.keys.job("a"), "g", 1)
    await step(store)
    assert await store.enqueue_unique("k", "b") == ["a"]


async def test_lost_and_new_in_one_call(store: Store) -> None:
    """A look at a lane that is empty does not count for a job that is put in later."""
    await store.enqueue_unique("lost", "a")
    await lose_entry(store)
    place, rule = store.queue.place_of("default"), "done return 0 0 0"
    found: list[str] = []
    jobs = [
        UniqueSubmission(one, place, "0", "", rule, key, found.append, ENVELOPE)
        for key, one in (("lost", "b"), ("new", "c"), ("new", "d"), ("lost", "e"))
    ]
    await store.unique.enqueue(jobs, "me", QueuePolicy(1 << 20, DEADLINE))
    assert found == ["a", "c", "a"]


async def test_payloads_of_holders_are_not_read(store: Store) -> None:
    """A payload may be a megabyte, and many keys may be asked for in a row."""
    await store.enqueue("earlier")
    await store.settle(await deliver(store))
    await store.enqueue_unique("runs", "a")
    await deliver(store)
    await store.enqueue_unique("waits", "b")
    before = await calls_of(store, "xrange")
    await store.enqueue_unique("runs", "c", "d")
    await store.enqueue_unique("waits", "e", "f")
    assert await calls_of(store, "xrange") == before


async def test_clock_is_set_back_while_an_entry_is_gone(store: Store) -> None:
    """A key is held for a minute by the clock as it is now, not as it was before."""
    await store.enqueue_unique("k", "a")
    await lose_entry(store)
    assert await store.enqueue_unique("k", "b") == ["a"]
    since = int((await store.hash_at(store.keys.job("a")))["g"])
    await store.call("HSET", store.keys.job("a"), "g", since + HOUR_MS)
    assert await store.enqueue_unique("k", "b") == ["a"]
    assert int((await store.hash_at(store.keys.job("a")))["g"]) < since + HOUR_MS


@pytest.mark.parametrize("job_id", ["a", 'a"b', "a\\b", "%1", "é", "a/b"])
async def test_job_of_any_id_is_found_among_those_that_run(store: Store, job_id: str) -> None:
    """A report is JSON, in which an id may look different."""
    await store.enqueue_unique("k", job_id)
    await lose_entry(store)
    await store.call("HSET", store.keys.job(job_id), "g", 1)
    await store.call("HSET", store.keys.workers, "w1", "0 1000")
    report = orjson.dumps({"jobs": [[job_id, "size", 1, 2]]})
    await store.call("SET", store.keys.worker("w1"), report)
    assert await store.enqueue_unique("k", "b") == [job_id]


@pytest.mark.parametrize(
    ("report", "is_kept"),
    [
        ({"running": MOST_JOBS + 1, "jobs": [["x", "size", 1, 2]] * MOST_JOBS}, True),
        ({"running": MOST_JOBS, "jobs": [["x", "size", 1, 2]] * MOST_JOBS}, False),
        ({"running": 1, "jobs": []}, True),
        ({"running": 0, "jobs": []}, False),
        ({"running": 0, "jobs": [], "held": MOST_HELD + 1, "held_jobs": ["x"] * MOST_HELD}, True),
        ({"running": 0, "jobs": [], "held": MOST_HELD, "held_jobs": ["x"] * MOST_HELD}, False),
        ({"running": 0, "jobs": [], "held": 1, "held_jobs": ["a"]}, True),
        ({"running": 1, "jobs": [["a", "size", 1, 2]]}, True),
        ([], False),
    ],
)  # fmt: skip
async def test_worker_that_may_have_a_job(store: Store, report: object, is_kept: bool) -> None:
    """A worker names a bounded number of its jobs: if it has more, it may have any."""
    await store.enqueue_unique("k", "a")
    await lose_entry(store)
    await store.call("HSET", store.keys.job("a"), "g", 1)
    await store.call("HSET", store.keys.workers, "w1", "0 1000")
    await store.call("SET", store.keys.worker("w1"), orjson.dumps(report))
    assert await store.enqueue_unique("k", "b") == (["a"] if is_kept else [None])


async def test_keys_of_ended_jobs_are_forgotten(store: Store) -> None:
    """The next enqueues remove what older workers leave behind, and no key of an open job."""
    for number in range(60):
        await store.enqueue_unique(f"old-{number}", f"o{number}")
    await store.settle(*(await store.read("w1")))
    assert len(await keys_of(store)) == 60
    for number in range(60):
        await store.enqueue_unique(f"new-{number}", f"n{number}")
    found = await keys_of(store)
    assert {f"new-{number}" for number in range(60)} <= set(found)
    assert len(found) < 120 - 40


async def test_many_at_once(store: Store) -> None:
    """A full batch of one key has one job, in however many steps it is enqueued."""
    ids = [f"j{number}" for number in range(ENQUEUE_LIMIT)]
    assert await store.enqueue_unique("k", *ids) == [None, *["j0"] * (ENQUEUE_LIMIT - 1)]
    assert [one.job_id for one in await store.read()] == ["j0"]


async def test_places_in_later_steps(store: Store) -> None:
    """A job that is refused has its place among all jobs of the call."""
    ids = [f"j{number}" for number in range(2 * UNIQUE_LIMIT + 1)]
    await store.enqueue(ids[-1], ids[UNIQUE_LIMIT])
    found = await store.enqueue_unique("k", *ids, max_length=2)
    assert found == [
        "" if place in {UNIQUE_LIMIT, 2 * UNIQUE_LIMIT} else "full" for place in range(len(ids))
    ]
    await store.settle(*(await store.read("w1")))
    ids = [f"n{number}" for number in range(2 * UNIQUE_LIMIT + 1)]
    assert await store.enqueue_unique("k", *ids) == [None, *["n0"] * (2 * UNIQUE_LIMIT)]


async def test_callers_error(store: Store) -> None:
    """The caller decides what a taken key means for it."""
    error = AioStreamQError("no")
    await store.enqueue_unique("k", "a")

    def on_held(holder: str) -> AioStreamQError:
        assert holder == "a"
        return error

    job = UniqueSubmission("b", 2, "0", "", "done return 0 0 0", "k", on_held, ENVELOPE)
    found = await store.unique.enqueue([job], "me", QueuePolicy(1 << 20, 5))
    assert found.errors == {0: error}


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("step", {**OPEN, **ENDS}.values(), ids={**OPEN, **ENDS})
async def test_window(store: Store, step: Step) -> None:
    """A key with a window is held for that time, whatever becomes of the job."""
    assert await store.enqueue_unique("k", "a", rule="window return", window_ms=60_000) == [None]
    if step is not cancel_running:  # which enqueues with the key itself
        await step(store)
    held = store.keys.prefix + "unique:k"
    assert 0 < await store.pttl(held) <= 60_000
    assert await store.enqueue_unique("k", "b", rule="window return", window_ms=1000) == ["a"]
    assert await store.pttl(held) > 1000, "it counts from the first"
    await store.call("DEL", held)
    assert await store.enqueue_unique("k", "b", rule="window return", window_ms=1000) == [None]


async def test_window_is_over(store: Store) -> None:
    """The next call after the window begins a new one."""
    for job_id in ("a", "b"):
        found = await store.enqueue_unique("k", job_id, rule="window return", window_ms=60_000)
        assert found == [None]
        assert await store.enqueue_unique("k", "c", rule="window return", window_ms=60_000) == [
            job_id
        ]
        await store.call("PEXPIRE", store.keys.prefix + "unique:k", 0)


async def test_window_and_end(store: Store) -> None:
    """A rule with a window has keys apart from those of open jobs, and repeats meet nothing."""
    assert await store.enqueue_unique("k", "a", rule="window return", window_ms=60_000) == [None]
    assert await store.enqueue_unique("k", "a", rule="window return", window_ms=60_000) == [""]
    assert await store.enqueue_unique("k", "b") == [None]
    assert await keys_of(store) == {"k": "b"}


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("step", {**OPEN, **ENDS}.values(), ids={**OPEN, **ENDS})
async def test_replace_in_window(store: Store, step: Step) -> None:
    """An open job is cancelled, one that has ended stays as it is; the window begins again."""
    await store.enqueue_unique("k", "a", rule="window return", window_ms=60_000)
    if step is not cancel_running:
        await step(store)
    found = await store.enqueue_unique("k", "b", rule="window replace", window_ms=90_000)
    assert found == [None]
    assert await store.pttl(store.keys.prefix + "unique:k") > 60_000
    assert await store.enqueue_unique("k", "c", rule="window return", window_ms=1) == ["b"]


@pytest.mark.parametrize("step", OPEN.values(), ids=OPEN)
async def test_held_to_the_start(store: Store, step: Step) -> None:
    """Until its worker frees it, such a key is held as every other one."""
    assert await store.enqueue_unique("k", "a", rule="started return") == [None]
    await step(store)
    assert await store.enqueue_unique("k", "b", rule="started return") == ["a"]
    await free_key(store.queue, "k", "a")
    assert await store.enqueue_unique("k", "b", rule="started return") == [None]


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("step", ENDS.values(), ids=ENDS)
async def test_held_to_the_start_by_a_job_that_ends_before(store: Store, step: Step) -> None:
    """A job that ends without a start frees its key, and so does one whose worker is older."""
    assert await store.enqueue_unique("k", "a", rule="started return") == [None]
    await step(store)
    assert await store.enqueue_unique("k", "b", rule="started return") == [None]


WAIT, MOST = 60_000, 90_000


async def call(
    store: Store, *ids: str, mark: str = WaiterMode.NOBODY, inbox: str = "me", most: int = 0
) -> list[str | None]:
    """Make debounced calls, each with its id as its argument."""
    found: list[str | None] = []
    for job_id in ids:
        found += await store.enqueue_unique(
            "k", job_id, rule="moved return", mark=mark, due=f"+{WAIT}", inbox=inbox,
            envelope=ENVELOPE.replace(b"1", job_id.encode()), window_ms=WAIT, max_wait_ms=most,
        )  # fmt: skip
    return found


async def due_in(store: Store, job_id: str) -> float:
    """Return the ms until a job is due."""
    score = await store.call("ZSCORE", store.keys.delayed, job_id)
    assert isinstance(score, bytes)
    await store.queue.clock.refresh()
    return float(score) - store.queue.clock.now_ms()


async def arguments_at(store: Store, job_id: str) -> bytes:
    """Return the envelope of a delayed job."""
    envelope = await store.call("HGET", store.keys.job(job_id), "p")
    assert isinstance(envelope, bytes)
    return envelope


async def make_earlier(store: Store, job_id: str, ms: int) -> None:
    """Have the first call of a job have come some ms earlier, and its last one, too."""
    first, _, ids = (await store.hash_at(store.keys.job(job_id)))["f"].partition(" ")
    await store.call("HSET", store.keys.job(job_id), "f", f"{int(first) - ms} {ids}")
    await store.call("ZINCRBY", store.keys.delayed, -ms, job_id)


async def latest(
    store: Store, *ids: str, mark: str = WaiterMode.NOBODY, inbox: str = "me"
) -> list[str | None]:
    """Make calls of which the latest is kept, each with its id as its argument."""
    found: list[str | None] = []
    for job_id in ids:
        found += await store.enqueue_unique(
            "k", job_id, rule="latest return", mark=mark, inbox=inbox,
            envelope=ENVELOPE.replace(b"1", job_id.encode()),
        )  # fmt: skip
    return found


async def test_debounce(store: Store) -> None:
    """The last call wins, and the job waits from that call on."""
    assert await call(store, "a") == [None]
    await make_earlier(store, "a", 50_000)
    assert await call(store, "b", "c") == ["a", "a"]
    assert WAIT - 5_000 < await due_in(store, "a") <= WAIT + 100  # the clock is an estimate
    assert await arguments_at(store, "a") == ENVELOPE.replace(b"1", b"c")
    assert not {"job:b", "job:c"} & await store.key_names()


async def test_debounce_has_an_end(store: Store) -> None:
    """A job is not moved beyond the longest wait, counted from its first call."""
    await call(store, "a", most=MOST)
    await make_earlier(store, "a", 50_000)
    await call(store, "b", most=MOST)
    assert 30_000 < await due_in(store, "a") < 45_000
    await make_earlier(store, "a", 50_000)
    await call(store, "c", most=MOST)
    assert await due_in(store, "a") < 100, "by an estimated clock"
    assert (await store.delayed.promote())[0] == 1


async def test_debounced_call_is_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply does not win over a later one."""
    await call(store, "a", "b", "c")
    assert await call(store, "b", "a") == ["a", ""]
    assert await arguments_at(store, "a") == ENVELOPE.replace(b"1", b"c")
    await call(store, *(f"n{number}" for number in range(40)))
    known = (await store.hash_at(store.keys.job("a")))["f"].split()
    assert known[1:] == [f"n{number}" for number in range(24, 40)]


async def begin(store: Store) -> None:
    """Let the job of the first call come due."""
    await store.call("ZADD", store.keys.delayed, "XX", 1000, "a")
    assert (await store.delayed.promote())[0] == 1


async def begin_and_retry(store: Store) -> None:
    """Have it wait for its next attempt."""
    await begin(store)
    await retry(store)


async def begin_and_park(store: Store) -> None:
    """Have it set aside."""
    await begin(store)
    await park(store)


@pytest.mark.parametrize("step", [begin, begin_and_retry, begin_and_park, cancel, forget])
async def test_debounce_begins_again(store: Store, step: Step) -> None:
    """A call that comes too late for a job makes a new one, and does not change the old one."""
    await call(store, "a", "b")
    await step(store)
    before = await store.hash_at(store.keys.job("a"))
    assert await call(store, "c", "d") == [None, "c"]
    assert await store.hash_at(store.keys.job("a")) == before


async def test_late_repetition(store: Store) -> None:
    """A repeated call whose job has begun finds that job, which has its arguments."""
    await call(store, "a", "b")
    await begin(store)
    assert await call(store, "b", "a") == ["a", ""]


async def test_repetition_after_the_next_job_has_begun(store: Store) -> None:
    """A call of the job that runs does not win over those of the job that waits."""
    await call(store, "a", "b")
    await begin(store)
    assert await call(store, "c", "b") == [None, "c"]
    assert await arguments_at(store, "c") == ENVELOPE.replace(b"1", b"c")


async def end_debounced(store: Store) -> None:
    """Make two calls of a job that then ends."""
    await call(store, "a", "b")
    await begin(store)
    await settle(store, JobState.DONE, key=HELD)


async def end_latest(store: Store) -> None:
    """Make two calls of a job that waits for its key, and then ends."""
    await latest(store, "first", "a", "b")
    await settle(store, JobState.DONE, key=HELD)
    await begin(store)
    await settle(store, JobState.DONE, key=HELD)


ENDS_OF_CALLS = pytest.mark.parametrize(
    ("calls", "end"), [(call, end_debounced), (latest, end_latest)], ids=["debounced", "latest"]
)


@ENDS_OF_CALLS
async def test_repetition_after_the_end(store: Store, calls: Calls, end: Step) -> None:
    """For a minute a repeated call is known, and makes no job."""
    await end(store)
    kept, before = store.keys.prefix + "calls:k", await store.key_names()
    assert 0 < await store.pttl(kept) <= 60_000
    assert await calls(store, "b", "a") == ["a", ""]
    assert await store.key_names() == before
    await store.call("DEL", kept)
    assert await calls(store, "b") == [None]


@ENDS_OF_CALLS
async def test_repetition_beside_the_next_job(store: Store, calls: Calls, end: Step) -> None:
    """A call of a job that has ended does not win over those of the next ones."""
    await end(store)
    assert await calls(store, "c") == [None]
    assert (await calls(store, "b"))[0] in {"a", "c"}
    last = (await calls(store, "d"))[0] or "d"
    assert await calls(store, "b") == [last]
    assert await arguments_at(store, last) == ENVELOPE.replace(b"1", b"d")


@pytest.mark.parametrize("calls", [call, latest], ids=["debounced", "latest"])
async def test_repetition_after_a_cancel(store: Store, calls: Calls) -> None:
    """A call that has reached a job which was cancelled then makes no other one."""
    if calls is latest:
        await calls(store, "first")
    await calls(store, "a", "b")
    await cancel(store)
    assert await calls(store, "b") == ["a"]
    assert await store.call("ZCARD", store.keys.delayed) == 0
    assert await calls(store, "c") == [None]


async def test_repetition_after_a_cancel_and_the_next_call(store: Store) -> None:
    """A call of a waiting job that was cancelled does not win over those of the next one."""
    await latest(store, "first", "a", "b")
    await cancel(store)
    assert await latest(store, "c", "b") == [None, "c"]
    assert await arguments_at(store, "c") == ENVELOPE.replace(b"1", b"c")


async def test_calls_of_other_rules_are_not_kept(store: Store) -> None:
    """A unique job has no calls; what another program has put in their place harms nothing."""
    await store.enqueue_unique("k", "unique")
    await settle(store, JobState.DONE, key=HELD)
    assert "calls:k" not in await store.key_names()
    await store.call("RPUSH", store.keys.prefix + "calls:k", "x")
    await end_debounced(store)
    assert await call(store, "b", "c") == ["a", None]


async def test_all_callers_are_notified(store: Store) -> None:
    """Each client that waits for the job gets its end, once."""
    await call(store, "a", mark=WaiterMode.CALLER)
    await call(store, "b", mark=WaiterMode.CALLER, inbox="you")
    await call(store, "c", mark=WaiterMode.CALLER)
    assert (await store.hash_at(store.keys.job("a")))["w"] == "me you"
    await begin(store)
    await store.settle(await deliver(store))
    for inbox in ("me", "you"):
        assert len(await store.list_at(store.keys.inbox(inbox))) == 1


async def test_last_call_decides_whether_a_result_is_kept(store: Store) -> None:
    """It replaces the envelope as a whole."""
    await call(store, "a", mark=WaiterMode.NO_RESULT)
    await call(store, "b")
    assert "k" not in await store.hash_at(store.keys.job("a"))
    await call(store, "c", mark=WaiterMode.NO_RESULT)
    assert (await store.hash_at(store.keys.job("a")))["k"] == "0"


async def test_job_of_another_rule_is_not_moved(store: Store) -> None:
    """A delayed job that is unique keeps its arguments and its time."""
    await store.enqueue_unique("k", "a", due="+1000")
    assert await call(store, "b") == [None]
    assert await arguments_at(store, "a") == ENVELOPE
    assert await due_in(store, "a") < 1100, "by an estimated clock"


async def test_many_calls_at_once(store: Store) -> None:
    """Calls of one batch move one job."""
    ids = [f"j{number}" for number in range(100)]
    found = await store.enqueue_unique(
        "k", *ids, rule="moved return", due=f"+{WAIT}", window_ms=WAIT
    )
    assert found == [None, *["j0"] * 99]
    assert await store.call("ZCARD", store.keys.delayed) == 1


async def look(store: Store) -> int:
    """Let the waiting job look whether its key is free; return how many were moved to a lane."""
    await store.call("ZADD", store.keys.delayed, "XX", 1000, "b")
    return (await store.delayed.promote())[0]


@pytest.mark.parametrize("step", OPEN.values(), ids=OPEN)
async def test_latest_waits(store: Store, step: Step) -> None:
    """While the first job is open, one more waits, with the arguments of the last call."""
    assert await latest(store, "a") == [None]
    await step(store)
    assert await latest(store, "b", "c", "d") == [None, "b", "b"]
    assert await arguments_at(store, "b") == ENVELOPE.replace(b"1", b"d")
    assert not {"job:c", "job:d"} & await store.key_names()
    assert await keys_of(store) == {"k": "a", "k:next": "b"}
    await store.delayed.promote()  # the first job may be due, whose entry was lost
    for seconds in (2, 4, 8, 10, 10):
        await store.call("ZADD", store.keys.delayed, "XX", 1000, "b")
        assert await store.delayed.promote() == (0, seconds)
    assert await latest(store, "e") == ["b"]


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("step", ENDS.values(), ids=ENDS)
async def test_latest_follows_each_end(store: Store, step: Step) -> None:
    """However the first job ends, the waiting one goes to the lane at its next look."""
    assert await latest(store, "a") == [None]
    if step is cancel_running:  # which enqueues with the key itself
        delivery = await deliver(store)
        await latest(store, "b")
        await cancel(store)
        assert await look(store) == 0
        await store.settle(delivery)
    else:
        await latest(store, "b")
        await step(store)
    if step is lose_delayed:  # the job that waits is lost, too
        assert await latest(store, "c") == [None]
        return
    assert await look(store) == 1
    assert await keys_of(store) == {"k": "b"}
    assert "y" not in await store.hash_at(store.keys.job("b"))
    assert await latest(store, "c", "d") == [None, "c"]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.DROPPED])
async def test_end_makes_the_waiting_job_due(store: Store, state: JobState) -> None:
    """A worker that ends the first job wakes the workers, and need not wait for the next look."""
    await latest(store, "a", "b")
    before = len(await store.stream_at(store.keys.control))
    await settle(store, state, key=HELD)
    assert await due_in(store, "b") < 100
    messages = await store.stream_at(store.keys.control)
    assert [one["say"] for one in messages[before:]] == ["wake"]
    assert (await store.delayed.promote())[0] == 1
    assert await keys_of(store) == {"k": "b"}
    (second,) = await store.read("w1")
    end = Settlement(second, HOUR_MS, b'{"state":"done","n":1}', key=HELD)
    await store.deliveries.settle([end], "w1")
    assert await keys_of(store) == {}


async def test_end_of_another_job_makes_nothing_due(store: Store) -> None:
    """Only the job that holds the key decides when the next one begins."""
    await latest(store, "a", "b")
    delivery, due = await deliver(store), await store.call("ZSCORE", store.keys.delayed, "b")
    await store.call("HSET", store.keys.unique, "k", "another")
    end = Settlement(delivery, HOUR_MS, b'{"state":"done","n":1}', key=HELD)
    await store.deliveries.settle([end], "w1")
    assert await store.call("ZSCORE", store.keys.delayed, "b") == due


@pytest.mark.parametrize("step", [cancel, ENDS["done by an old worker"], forget])
async def test_call_after_an_end_that_made_nothing_due(store: Store, step: Step) -> None:
    """It changes the waiting job, and makes it due."""
    await latest(store, "a", "b")
    await step(store)
    assert await latest(store, "c") == ["b"]
    assert await due_in(store, "b") < 100
    assert await arguments_at(store, "b") == ENVELOPE.replace(b"1", b"c")


async def test_waiting_job_is_cancelled(store: Store) -> None:
    """The next call makes another one; the end of the first job brings nothing back."""
    await latest(store, "a", "b")
    await Cancellation(store.queue).cancel(["b"])
    await look(store)
    assert await latest(store, "c", "d") == [None, "c"]
    await Cancellation(store.queue).cancel(["c"])
    await settle(store, JobState.DONE, key=HELD)
    assert (await store.delayed.promote())[0] == 0
    assert await latest(store, "e") == [None]
    assert await store.results.job_state("e") == b"queued"


async def test_latest_call_is_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply does not win over a later one."""
    await latest(store, "a", "b", "c", "d")
    assert await latest(store, "c", "b", "a") == ["b", "", ""]
    assert await arguments_at(store, "b") == ENVELOPE.replace(b"1", b"d")
    await settle(store, JobState.DONE, key=HELD)
    await store.delayed.promote()
    assert await latest(store, "d") == ["b"], "it runs, with these arguments"
    assert await latest(store, "e", "f") == [None, "e"]
    assert await latest(store, "d", "c") == ["b", "b"]
    second = await deliver(store)
    end = Settlement(second, HOUR_MS, b'{"state":"done","n":1}', key=HELD)
    await store.deliveries.settle([end], "w1")
    assert await latest(store, "d", "c") == ["e", "e"], "it knows the calls before it"
    assert await arguments_at(store, "e") == ENVELOPE.replace(b"1", b"f")
    await latest(store, *(f"n{number}" for number in range(40)))
    known = (await store.hash_at(store.keys.job("e")))["f"].split()
    assert known[1:] == [f"n{number}" for number in range(24, 40)]


async def test_all_callers_of_the_waiting_job_are_notified(store: Store) -> None:
    """Each client that waits for the job gets its end, once, and a result if the last wants it."""
    await latest(store, "a")
    await latest(store, "b", mark=WaiterMode.CALLER)
    await latest(store, "c", mark=WaiterMode.NO_RESULT)
    await latest(store, "d", mark=WaiterMode.CALLER, inbox="you")
    job = await store.hash_at(store.keys.job("b"))
    assert (job["w"], job.get("k")) == ("me you", None)
    await settle(store, JobState.DONE, key=HELD)
    await store.delayed.promote()
    await store.settle(await deliver(store))
    for inbox in ("me", "you"):
        assert len(await store.list_at(store.keys.inbox(inbox))) == 1


async def test_older_worker_promotes_early(store: Store) -> None:
    """Then two run, and one more waits until the one with the key has ended: nothing is lost."""
    await latest(store, "a", "b")
    known = await store.hash_at(store.keys.job("b"))
    await store.call("HDEL", store.keys.job("b"), "y")  # an older script does not read it
    assert await look(store) == 1
    await store.call("HSET", store.keys.job("b"), "y", known["y"])
    assert await latest(store, "c", "d") == [None, "c"]
    first, second = await store.read("w1")
    assert (first.job_id, second.job_id) == ("a", "b")
    ends = [
        Settlement(one, HOUR_MS, b'{"state":"done","n":1}', key=HELD) for one in (second, first)
    ]
    due = await store.call("ZSCORE", store.keys.delayed, "c")
    await store.deliveries.settle(ends[:1], "w1")
    assert await store.call("ZSCORE", store.keys.delayed, "c") == due
    await store.deliveries.settle(ends[1:], "w1")
    assert (await store.delayed.promote())[0] == 1


async def test_waiting_job_needs_no_room(store: Store) -> None:
    """The first of a key needs room as every job; it takes no key without."""
    await store.enqueue("full")
    rule = "latest return"
    assert await store.enqueue_unique("k", "a", rule=rule, max_length=1) == ["full"]
    assert await keys_of(store) == {}
    assert await store.enqueue_unique("k", "a", rule=rule, max_length=2) == [None]
    assert await store.enqueue_unique("k", "b", "c", rule=rule, max_length=2) == [None, "b"]


async def test_latest_in_one_call(store: Store) -> None:
    """The first and the last of a batch stay."""
    ids = [f"j{number}" for number in range(100)]
    found = await store.enqueue_unique("k", *ids, rule="latest return")
    assert found == [None, None, *["j1"] * 98]


@pytest.mark.parametrize("damage", ["SET", "XADD"])
async def test_waiting_job_and_key_of_another_type(store: Store, damage: str) -> None:
    """It goes to its lane although another program has overwritten the keys."""
    await latest(store, "a", "b")
    await store.call("DEL", store.keys.unique)
    value = ("v",) if damage == "SET" else ("*", "f", "v")
    await store.call(damage, store.keys.unique, *value)
    await settle(store, JobState.DONE, key=HELD)
    assert await look(store) == 1


async def test_retry_of_a_job_that_has_waited(store: Store) -> None:
    """It holds its key, so its next attempt waits for no other job, and others wait for it."""
    await latest(store, "a", "b")
    await settle(store, JobState.DONE, key=HELD)
    await store.delayed.promote()
    assert await latest(store, "c") == [None]
    await retry(store)
    assert await look(store) == 1
    await store.call("ZADD", store.keys.delayed, "XX", 1000, "c")
    assert (await store.delayed.promote())[0] == 0


async def test_entry_of_the_first_job_is_gone(store: Store) -> None:
    """The waiting job runs when no worker has reported the first one for a minute."""
    await latest(store, "a", "b")
    await lose_entry(store)
    assert await look(store) == 0
    since = int((await store.hash_at(store.keys.job("a")))["g"])
    await store.call("HSET", store.keys.job("a"), "g", since - 60_000)
    assert await look(store) == 1


@pytest.mark.parametrize("field", ["y", "f", "p", "n"])
async def test_hash_of_the_waiting_job_is_damaged(store: Store, field: str) -> None:
    """Neither calls nor the end of the first job fail, nor does a look."""
    await latest(store, "a", "b")
    await store.call("HSET", store.keys.job("b"), field, "?")
    await latest(store, "c")
    await settle(store, JobState.DONE, key=HELD)
    await look(store)
    assert await latest(store, "d")
