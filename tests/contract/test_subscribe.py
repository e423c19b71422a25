"""Subscribing to a job announces its outcome, or returns it if the job has ended."""

from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from aiostreamq.model.delivery import Settlement, WaiterMode
from aiostreamq.model.outcome import encode_done
from aiostreamq.store.results import INBOX_MS, SUBSCRIBE_LIMIT, Subscription
from tests.support.store import DEADLINE, ENVELOPE, Store, calls_of, outcome_of
from tests.support.waiting import wait_until


async def test_one_that_goes_on(store: Store) -> None:
    """The inbox is noted, whether the job waits or runs."""
    await store.enqueue("a")
    assert await store.results.subscribe("me", ["a"]) == [Subscription.WILL_TELL]
    assert (await store.hash_at(store.keys.job("a")))["w"] == "me"
    await store.read()
    assert await store.results.subscribe("me", ["a"]) == [Subscription.WILL_TELL]


async def test_one_that_has_ended(store: Store) -> None:
    """Its outcome is the answer."""
    delivery = await store.deliver("a")
    await store.settle(delivery)
    assert await store.results.subscribe("me", ["a"]) == [outcome_of(delivery)]


async def test_one_that_keeps_no_result(store: Store) -> None:
    """That is the answer while its job is known, so nobody waits in vain."""
    delivery = await store.deliver("a", mark=WaiterMode.NO_RESULT)
    assert await store.results.subscribe("me", ["a"]) == [Subscription.NO_RESULT]
    await store.settle(delivery, keep_ms=0)
    assert await store.results.subscribe("me", ["a"]) != [Subscription.WILL_TELL]


async def test_unknown_ones(store: Store) -> None:
    """Nothing is noted about a job that is not there, or not any more."""
    assert await store.results.subscribe("me", ["a"]) == [Subscription.UNKNOWN]
    await store.settle(await store.deliver("b"), keep_ms=1000)
    await store.call("DEL", store.keys.result("b"))
    assert await store.results.subscribe("me", ["b"]) == [Subscription.UNKNOWN]
    assert await store.key_names() & {"job:a", "inbox:me"} == set()


async def test_asked_twice(store: Store) -> None:
    """Asking again changes nothing and gives the same answer."""
    await store.settle(await store.deliver("b"))
    await store.enqueue("a")
    first = await store.results.subscribe("me", ["a", "b", "c"])
    job = await store.hash_at(store.keys.job("a"))
    assert await store.results.subscribe("me", ["a", "b", "c"]) == first
    assert await store.hash_at(store.keys.job("a")) == job


async def test_several_inboxes(store: Store) -> None:
    """Each that asked is noted once."""
    await store.enqueue("a", mark=WaiterMode.CALLER, inbox="producer")
    for inbox in ("one", "producer", "other", "one"):
        assert await store.results.subscribe(inbox, ["a"]) == [Subscription.WILL_TELL]
    assert (await store.hash_at(store.keys.job("a")))["w"].split() == ["producer", "one", "other"]


async def test_very_many_inboxes(store: Store) -> None:
    """The last that asked are told; one that was pushed out may ask again, and finds the end."""
    await store.enqueue("a")
    inboxes = [f"{number:016x}" for number in range(500)]
    for inbox in inboxes:
        assert await store.results.subscribe(inbox, ["a"]) == [Subscription.WILL_TELL]
    told = (await store.hash_at(store.keys.job("a")))["w"].split()
    assert 100 < len(told) < 130
    assert told == inboxes[-len(told) :]
    assert await store.results.subscribe(inboxes[0], ["a"]) == [Subscription.WILL_TELL]
    told = (await store.hash_at(store.keys.job("a")))["w"].split()
    assert (told[-1], len(told)) == (inboxes[0], len(set(told)))
    (delivery,) = await store.read()
    await store.settle(delivery)
    assert await store.list_at(store.keys.inbox(inboxes[0])) == [b"a " + outcome_of(delivery)]
    assert await store.results.subscribe(inboxes[1], ["a"]) == [outcome_of(delivery)]


async def test_many_in_one_call(store: Store) -> None:
    """The answers come in the order of the ids."""
    ids = [f"j{number}" for number in range(SUBSCRIBE_LIMIT - 100)]
    await store.enqueue(*ids)
    await store.settle(*(await store.read(count=100)))
    asked = [name for pair in zip(ids, reversed(ids), strict=True) for name in pair][:500]
    answers = await store.results.subscribe("me", asked)
    ended = set(ids[:100])
    for name, answer in zip(asked, answers, strict=True):
        assert isinstance(answer, bytes) == (name in ended)
        assert not isinstance(answer, bytes) or answer.endswith(b'"%b"}' % name.encode())


async def test_echo_comes_last(store: Store) -> None:
    """It stands behind what the inbox was told before, and does not stay for ever."""
    await store.enqueue("a", mark=WaiterMode.CALLER, inbox="me")
    (delivery,) = await store.read()
    await store.settle(delivery)
    await store.results.ping("me", "word")
    inbox = store.keys.inbox("me")
    first, second = cast("list[bytes]", await store.call("LRANGE", inbox, 0, -1))
    assert first == b"a " + outcome_of(delivery)
    assert second == b" word"
    assert 0 < cast("int", await store.call("PTTL", inbox)) <= INBOX_MS


@pytest.mark.parametrize("size", [10, 300_000, 1_500_000])
async def test_long_outcomes(store: Store, size: int) -> None:
    """A reply has about a megabyte; the rest is asked for again, and each comes to its own id."""
    ids = [f"j{number}" for number in range(12)]
    await store.enqueue(*ids)
    outcomes: dict[str, bytes] = {}
    for delivery in await store.read(count=12):
        value = b'"%s"' % (delivery.job_id.encode() + b"x" * size)
        outcomes[delivery.job_id] = encode_done(b'"t"', delivery.number, value)
        await store.deliveries.settle(
            [Settlement(delivery, 60_000, outcomes[delivery.job_id])], "w1"
        )
    answers = await store.results.subscribe("me", [*ids, "unknown"])
    assert answers == [*(outcomes[job_id] for job_id in ids), Subscription.UNKNOWN]


@pytest.mark.parametrize("size", [300_000, 1_500_000])
async def test_copies_of_long_outcomes(store: Store, size: int) -> None:
    """Redis copies an outcome for the call that returns it, and for one call before at most."""
    ids = [f"j{number}" for number in range(12)]
    for job_id in ids:
        await store.call("SET", store.keys.result(job_id), b"x" * size)
    before = await calls_of(store, "get")
    assert await store.results.subscribe("me", ids) == [b"x" * size] * 12
    assert await calls_of(store, "get") - before <= 2 * len(ids)


@pytest.mark.parametrize("size", [10, 400_000, 1_500_000])
@pytest.mark.parametrize("place", ["delayed", "parked"])
async def test_closely_with_long_payloads(store: Store, place: str, size: int) -> None:
    """A thorough look decides about each job, however long the payloads are."""
    ids = [f"j{number}" for number in range(7)]
    envelope = b'{"v":1,"task":"t","args":["%b"]}' % (b"x" * size)
    if place == "delayed":
        jobs = [(one, "slow", WaiterMode.NOBODY, "+99999", envelope) for one in ids]
        await store.delayed.delay(jobs, "me", DEADLINE)
        await store.call("ZREM", store.keys.delayed, "j3")
    else:
        await store.enqueue(*ids, envelope=envelope)
        await store.parking.park([(one, "t") for one in await store.read(count=len(ids))])
        entry = cast("bytes", await store.call("HGET", store.keys.job("j3"), "q")).split()[0]
        await store.call("XDEL", store.keys.parked_for("t"), entry)
    answers = await store.results.subscribe("me", ids, thorough=True)
    there = Subscription.WILL_TELL
    assert answers == [there, there, there, Subscription.LOST, there, there, there]


async def park(store: Store, job_id: str) -> None:
    """Park a job."""
    await store.parking.park([(await store.deliver(job_id), "t")])


async def delay(store: Store, job_id: str) -> None:
    """Keep a job for later."""
    jobs = [(job_id, "slow", WaiterMode.NOBODY, "+99999", ENVELOPE)]
    await store.delayed.delay(jobs, "me", DEADLINE)


async def run(store: Store, job_id: str) -> None:
    """Have a worker run a job."""
    await store.deliver(job_id)


async def wait(store: Store, job_id: str) -> None:
    """Have a job wait in a lane."""
    await store.enqueue(job_id)


async def next_millisecond(store: Store) -> None:
    """Let Redis's clock move on."""

    async def now_ms() -> int:
        seconds, microseconds = cast("list[bytes]", await store.call("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

    before = await now_ms()

    async def has_moved() -> bool:
        return await now_ms() > before

    await wait_until(has_moved, "the next millisecond")


PLACES = pytest.mark.parametrize(
    ("put", "key", "found"),
    [
        (wait, "stream:default", Subscription.STRAY),
        (run, "stream:default", Subscription.STRAY),
        (delay, "delayed", Subscription.LOST),
        (park, "parked:t", Subscription.LOST),
    ],
)
Put = Callable[[Store, str], Awaitable[None]]


@PLACES
async def test_place_is_gone(store: Store, put: Put, key: str, found: Subscription) -> None:
    """A thorough look finds it, also if others have come to the same place since."""
    await put(store, "a")
    assert await store.results.subscribe("me", ["a"], thorough=True) == [Subscription.WILL_TELL]
    await store.call("DEL", store.keys.prefix + key)
    assert await store.results.subscribe("me", ["a", "b"], thorough=True) == [
        found,
        Subscription.UNKNOWN,
    ]
    await store.queue.create_groups(store.link)
    await next_millisecond(store)  # entries are numbered by them
    await put(store, "b")
    assert await store.results.subscribe("me", ["b", "a"], thorough=True) == [
        Subscription.WILL_TELL,
        found,
    ]
    assert await store.results.subscribe("me", ["a"]) == [Subscription.WILL_TELL], "not looked for"


@PLACES
async def test_place_is_overwritten(store: Store, put: Put, key: str, found: Subscription) -> None:
    """Then nothing is known, and the job is not given up."""
    del found
    await put(store, "a")
    await store.call("SET", store.keys.prefix + key, "of another program")
    answers = await store.results.subscribe("me", ["a"], thorough=True)
    assert answers == [Subscription.WILL_TELL]


async def test_entry_is_no_id(store: Store) -> None:
    """Another program has changed the job: the others of the call are not affected."""
    await store.enqueue("a", "b")
    await store.call("HSET", store.keys.job("a"), "e", "nonsense")
    answers = await store.results.subscribe("me", ["a", "b"], thorough=True)
    assert answers == [Subscription.WILL_TELL] * 2
