"""replay and purge: what becomes of dead letters, each once."""

from typing import cast

import orjson
import pytest

from aiostreamq.model.dead_letters import DeadLetter
from aiostreamq.model.delivery import (
    DelayedSubmission,
    Delivery,
    RetryRequest,
    Settlement,
    WaiterMode,
)
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import (
    Failure,
    encode_ended,
    encode_unreadable,
)
from aiostreamq.model.replayed_job import write_history
from aiostreamq.store.dead_letters import (
    LETTERS_LIMIT,
    MAX_DEAD_AGE_MS,
    DeadLetterStore,
    Replay,
    Replayed,
    Span,
)
from aiostreamq.store.results import Subscription
from tests.support.store import ENVELOPE, HOUR_MS, Store

LEASE_MS = 1_000


async def fail(store: Store, *deliveries: Delivery, keep_ms: int = HOUR_MS) -> None:
    """End deliveries with a dead letter each."""
    failure = Failure("ValueError", "no tea", "")
    batch = [
        Settlement(d, keep_ms, encode_ended("size", d.number, JobState.FAILED, failure), True)
        for d in deliveries
    ]
    assert (await store.deliveries.settle(batch, "w1")).refused == []


async def bury_nonsense(store: Store, *fields: str) -> None:
    """Have an entry that no worker can read among the dead letters."""
    await store.call("XADD", store.keys.stream("default"), "*", *fields)
    read = await store.deliveries.read(store.link, "w1", 10, None)
    entries = read.unreadable + [(d.stream, d.entry) for d in read.deliveries]
    assert (
        await store.deliveries.dead_letter_unreadable(entries, encode_unreadable("no"), "w1") == 1
    )


async def letters(store: Store) -> list[DeadLetter]:
    """Return all dead letters, oldest first."""
    pages = [page async for page in DeadLetterStore(store.queue).oldest_first(Span())]
    return [letter for page in pages for letter in page]


def revival(
    store: Store, letter: DeadLetter, lane: str = "default", mark: str = WaiterMode.NOBODY
) -> Replay:
    """Return what the script is told to replay a letter."""
    place = store.queue.place_of(lane)
    history = write_history(letter)
    return Replay(letter.id, letter.job_id, place, mark, letter.envelope, history)


async def replay(store: Store, *revivals: Replay) -> list[Replayed]:
    """Call the script."""
    return await DeadLetterStore(store.queue).replay(revivals)


async def test_job_runs_again(store: Store) -> None:
    """It is a job like any other, of the next number; the letter and the result are gone."""
    await fail(store, await store.deliver("a"))
    [letter] = await letters(store)
    assert await replay(store, revival(store, letter)) == [Replayed.DONE]
    assert await letters(store) == []
    assert await store.results.job_state("a") == b"queued"
    assert await store.pttl(store.keys.result("a")) == -2
    assert await store.pttl(store.keys.job("a")) == -1
    assert await store.enqueue("a") == {0}, "its id is taken"
    assert await store.results.subscribe("me", ["a"]) == [Subscription.WILL_TELL]
    [delivery] = await store.read()
    assert (delivery.job_id, delivery.number, delivery.attempt) == ("a", 2, 1)
    assert delivery.envelope == ENVELOPE
    assert await store.results.job_state("a") == b"running"
    assert await store.settle(delivery) == []
    assert orjson.loads(await store.results.job_state("a") or b"")["n"] == 2
    [notice] = await store.list_at(store.keys.inbox("me"))
    assert notice.startswith(b"a ")


@pytest.mark.parametrize("keep_ms", [0, 30_000])
async def test_job_whose_id_is_still_kept(store: Store, keep_ms: int) -> None:
    """What was left to keep its id taken becomes the job's again, and does not expire."""
    mark = WaiterMode.NOBODY if keep_ms else WaiterMode.NO_RESULT
    await fail(store, await store.deliver("a", mark=mark), keep_ms=keep_ms)
    [letter] = await letters(store)
    assert await replay(store, revival(store, letter, mark=mark)) == [Replayed.DONE]
    job = await store.hash_at(store.keys.job("a"))
    assert set(job) == ({"e"} if keep_ms else {"e", "k"})
    assert await store.pttl(store.keys.job("a")) == -1
    assert await store.results.job_state("a") == b"queued"


async def test_no_result_is_kept_once_more(store: Store) -> None:
    """A job that keeps no result keeps none either when nothing was left of it but the letter."""
    await fail(store, await store.deliver("a", mark=WaiterMode.NO_RESULT), keep_ms=0)
    await store.call("DEL", store.keys.job("a"))
    [letter] = await letters(store)
    await replay(store, revival(store, letter, mark=WaiterMode.NO_RESULT))
    assert await store.results.subscribe("me", ["a"]) == [Subscription.NO_RESULT]


async def test_other_lane(store: Store) -> None:
    """The job is where it was told to be, and is found there."""
    await fail(store, await store.deliver("a"))
    [letter] = await letters(store)
    await replay(store, revival(store, letter, "slow"))
    assert (await store.hash_at(store.keys.job("a")))["s"] == "slow"
    [delivery] = await store.read()
    assert delivery.stream == store.queue.place_of("slow")
    assert await store.results.job_state("a") == b"running"


async def test_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply answers the same and makes no second job."""
    await fail(store, await store.deliver("a"))
    [letter] = await letters(store)
    one = revival(store, letter)
    assert await replay(store, one) == [Replayed.DONE]
    assert await replay(store, one) == [Replayed.DONE]
    [delivery] = await store.read()
    await store.settle(delivery)
    assert await replay(store, one) == [Replayed.DONE]
    assert await store.read() == []
    assert await store.pttl(store.keys.result("a")) > 0, "the new result is left alone"


async def test_letter_that_is_gone(store: Store) -> None:
    """Where neither letter nor job is known nothing is done."""
    await fail(store, await store.deliver("a"))
    [letter] = await letters(store)
    assert await DeadLetterStore(store.queue).purge([letter.id]) == 1
    await store.call("DEL", store.keys.result("a"))
    assert await replay(store, revival(store, letter)) == [Replayed.GONE]
    assert await store.read() == []


@pytest.mark.parametrize("state", ["queued", "running", "delayed", "parked", "done"])
async def test_id_of_another_job(store: Store, state: str) -> None:
    """Where a job of the same id lives, or has ended otherwise, the letter stays."""
    await fail(store, await store.deliver("a"))
    [letter] = await letters(store)
    await store.call("DEL", store.keys.result("a"))  # as when it expires
    if state == "delayed":
        later: DelayedSubmission = ("a", "default", WaiterMode.NOBODY, "+60000", ENVELOPE)
        await store.delayed.delay([later], "me", 5)
    else:
        await store.enqueue("a")
    if state in {"running", "parked", "done"}:
        [delivery] = await store.read()
        if state == "parked":
            await store.parking.park([(delivery, "size")])
        if state == "done":
            await store.settle(delivery)
    before = await store.results.job_state("a")
    assert await replay(store, revival(store, letter)) == [Replayed.REFUSED]
    assert await store.results.job_state("a") == before
    assert before is not None
    assert before.startswith(b"{" if state == "done" else state.encode())
    assert await letters(store) == [letter]


async def test_each_letter_has_its_answer(store: Store) -> None:
    """One that is refused stops no other."""
    await fail(store, *[await store.deliver(job_id) for job_id in "abc"])
    a, b, c = await letters(store)
    await store.call("DEL", store.keys.result("b"))
    await store.enqueue("b")
    answers = await replay(store, *(revival(store, one) for one in (a, b, c)))
    assert answers == [Replayed.DONE, Replayed.REFUSED, Replayed.DONE]
    assert sorted(d.job_id for d in await store.read()) == ["a", "b", "c"]
    assert await letters(store) == [b]


async def test_what_is_no_job(store: Store) -> None:
    """It stays, whatever id it is given."""
    await bury_nonsense(store, "hello", "world")
    [letter] = await letters(store)
    assert letter.fields == ((b"hello", b"world"),)
    one = Replay(letter.id, "world", 2, WaiterMode.NOBODY, ENVELOPE, b"[]")
    assert await replay(store, one) == [Replayed.REFUSED]
    assert await letters(store) == [letter]
    assert await store.read() == []


async def test_call_that_no_worker_could_read(store: Store) -> None:
    """It is a job, and runs again where its call is readable by then."""
    await store.enqueue("a", envelope=b'{"v":2,"task":"size"}')
    read = await store.read()
    await store.deliveries.dead_letter_unreadable(
        [(d.stream, d.entry) for d in read], encode_unreadable("v"), "w1"
    )
    [letter] = await letters(store)
    assert orjson.loads(await store.results.job_state("a") or b"")["state"] == "dead"
    assert await replay(store, revival(store, letter)) == [Replayed.DONE]
    [delivery] = await store.read()
    assert (delivery.job_id, delivery.number) == ("a", 2)


@pytest.mark.parametrize("n", ["", "x", "0", "01", "1e3", "0x10", "9" * 16])
async def test_number_that_is_none(store: Store, n: str) -> None:
    """What no worker took for a job is none here either."""
    await bury_nonsense(store, "id", "a", "n", n, "job", "{}")
    [letter] = await letters(store)
    assert not letter.is_job
    one = Replay(letter.id, "a", 2, WaiterMode.NOBODY, ENVELOPE, b"[]")
    assert await replay(store, one) == [Replayed.REFUSED]


async def test_most_in_one_call(store: Store) -> None:
    """As many as a call may have pass through it."""
    ids = [f"j{number}" for number in range(LETTERS_LIMIT)]
    await store.enqueue(*ids)
    await fail(store, *await store.read(count=1_000))
    found = await letters(store)
    answers = await replay(store, *(revival(store, one) for one in found))
    assert answers == [Replayed.DONE] * LETTERS_LIMIT
    assert {d.job_id for d in await store.read(count=1_000)} == set(ids)


async def test_history_travels(store: Store) -> None:
    """It is with the job through attempts now and later, parking, returns, and its next end."""
    await fail(store, await store.deliver("a"))
    [first] = await letters(store)
    await replay(store, revival(store, first))

    [delivery] = await store.read()
    assert await store.delayed.retry([RetryRequest(delivery, 0)]) == []
    [delivery] = await store.read()
    assert await store.delayed.retry([RetryRequest(delivery, 60_000)]) == []
    await store.call("ZADD", store.keys.delayed, 1_000, "a")
    assert (await store.delayed.promote())[0] == 1
    assert set(await store.hash_at(store.keys.job("a"))) == {"e", "s"}
    [delivery] = await store.read()
    assert await store.parking.park([(delivery, "size")]) == 1
    assert await store.parking.unpark(["size"]) == 1
    [delivery] = await store.read()
    assert await store.deliveries.requeue([delivery]) == 1
    await store.workers.join("w1", LEASE_MS)
    await store.read()
    assert (await store.workers.recover("w1", "0 1000", 3)).returned == 1
    [delivery] = await store.read("w2")
    assert (delivery.number, delivery.attempt) == (6, 3)

    await fail(store, delivery)
    [second] = await letters(store)
    [past] = second.history
    assert (past.died_at, past.worker, past.error) == (first.died_at, "w1", "ValueError")
    assert (second.attempt, second.deliveries, second.lane) == (3, 6, "returned")
    assert len(second.victims) == 1

    await replay(store, revival(store, second))
    [delivery] = await store.read()
    assert (delivery.number, delivery.attempt) == (7, 1)
    await fail(store, delivery)
    [third] = await letters(store)
    assert [one.died_at for one in third.history] == [first.died_at, second.died_at]
    assert third.victims == (), "replayed, it has killed nobody yet"


async def test_first_attempt_is_promoted_without_history(store: Store) -> None:
    """A job for later that has none gets none."""
    later: DelayedSubmission = ("a", "default", WaiterMode.NOBODY, "1000", ENVELOPE)
    await store.delayed.delay([later], "me", 5)
    await store.delayed.promote()
    [entry] = await store.stream_at(store.keys.stream("default"))
    assert set(entry) == {"id", "n", "job"}


async def test_purged(store: Store) -> None:
    """The letter is gone, what else is known of the job is left; a repeat finds nothing."""
    await fail(store, *[await store.deliver(job_id) for job_id in "ab"])
    a, b = await letters(store)
    graveyard = DeadLetterStore(store.queue)
    assert await graveyard.purge([a.id, "1-1"]) == 1
    assert await graveyard.purge([a.id]) == 0
    assert await letters(store) == [b]
    assert await store.pttl(store.keys.result("a")) > 0


async def test_purge_leaves_a_new_job_of_the_id(store: Store) -> None:
    """A job that lives has nothing to do with the letter."""
    await fail(store, await store.deliver("a"))
    await store.call("DEL", store.keys.result("a"))
    await store.enqueue("a")
    [letter] = await letters(store)
    await DeadLetterStore(store.queue).purge([letter.id])
    assert await store.results.job_state("a") == b"queued"


async def test_old_letters_are_forgotten(store: Store) -> None:
    """Beyond their age they go, about; what is younger stays."""
    dead = DeadLetterStore(store.queue)
    oldest = await dead.now_ms() - MAX_DEAD_AGE_MS
    for number in range(250):
        await store.call("XADD", store.keys.dead, f"{oldest - 60_000}-{number + 1}", "a", "b")
    young = cast("bytes", await store.call("XADD", store.keys.dead, oldest + 60_000, "a", "b"))
    assert await dead.forget_old() >= 150
    assert await dead.forget_old() == 0
    left = await letters(store)
    assert len(left) <= 101
    assert left[-1].id.encode() == young


async def test_nothing_to_forget(store: Store) -> None:
    """Without letters there is no stream, and none is made."""
    assert await DeadLetterStore(store.queue).forget_old() == 0
    assert "dead" not in await store.key_names()


@pytest.mark.parametrize("mark", [WaiterMode.NOBODY, WaiterMode.NO_RESULT])
async def test_result_is_kept_as_the_replay_says(store: Store, mark: str) -> None:
    """What its first run had kept, or not, plays no part."""
    await fail(store, await store.deliver("a", mark=WaiterMode.NO_RESULT), keep_ms=0)
    [letter] = await letters(store)
    assert await replay(store, revival(store, letter, mark=mark)) == [Replayed.DONE]
    expected = Subscription.WILL_TELL if mark is WaiterMode.NOBODY else Subscription.NO_RESULT
    assert await store.results.subscribe("me", ["a"]) == [expected]


async def fail_with_key(store: Store) -> Replay:
    """Have a job with a key among the dead letters; returns its replay."""
    await store.enqueue_unique("k", "a")
    await fail(store, *(await store.read("w1")))
    (letter,) = await letters(store)
    return revival(store, letter)._replace(digest="k")


async def test_key_is_taken_again(store: Store) -> None:
    """A replayed job holds its key, also if the call is repeated after a lost reply."""
    one = await fail_with_key(store)
    for _ in range(2):
        assert await replay(store, one) == [Replayed.DONE]
    assert await store.enqueue_unique("k", "b") == ["a"]


async def test_key_of_another_job(store: Store) -> None:
    """The letter stays while another job holds the key, unless keys are ignored."""
    one = await fail_with_key(store)
    await store.enqueue_unique("k", "b")
    assert await replay(store, one) == [Replayed.KEY_TAKEN]
    assert len(await letters(store)) == 1
    assert await replay(store, one._replace(digest="")) == [Replayed.DONE]
    assert await store.hash_at(store.keys.unique) == {"k": "b"}


async def test_key_of_a_job_that_has_ended(store: Store) -> None:
    """It does not keep the letter."""
    one = await fail_with_key(store)
    await store.enqueue_unique("k", "b")
    await store.settle(*(await store.read("w1")))
    assert await replay(store, one) == [Replayed.DONE]
    assert await store.hash_at(store.keys.unique) == {"k": "a"}


async def test_two_letters_of_one_key(store: Store) -> None:
    """The first of them runs again."""
    first = await fail_with_key(store)
    await store.enqueue_unique("k", "b")
    await fail(store, *(await store.read("w1")))
    second = revival(store, (await letters(store))[1])._replace(digest="k")
    assert await replay(store, first, second) == [Replayed.DONE, Replayed.KEY_TAKEN]
