"""Settling stores the outcome of a job and removes all else of it."""

import orjson
import pytest

from aiostreamq.model.delivery import Delivery, Settlement, WaiterMode
from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW, RETURNED
from aiostreamq.model.outcome import signature_of, signed
from aiostreamq.store.deliveries import ID_MS, NOTICE_BYTES, SETTLE_LIMIT
from aiostreamq.store.results import INBOX_MS
from tests.support.store import ENVELOPE, HOUR_MS, Store, outcome_of

STREAMS = {f"stream:{name}" for name in ("default", "slow", RETURNED, *OVERFLOW.values(), ADMITTED)}


async def test_outcome_is_kept(store: Store) -> None:
    """It is readable under the job's id for as long as was asked, and nothing else is left."""
    delivery = await store.deliver("a")
    assert await store.settle(delivery, keep_ms=HOUR_MS) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(delivery)
    assert HOUR_MS - 5_000 < await store.pttl(store.keys.result("a")) <= HOUR_MS
    assert await store.key_names() == STREAMS | {"result:a"}


async def test_entry_is_gone(store: Store) -> None:
    """An ended job is neither pending nor in its stream: the stream holds only what is to do."""
    await store.settle(await store.deliver("a"))
    assert await store.pending() == 0
    assert await store.stream_at(store.keys.stream("default")) == []


async def test_short_result(store: Store) -> None:
    """Its id outlives it: a repeated enqueue must still meet it."""
    await store.settle(await store.deliver("a"), keep_ms=1000)
    assert 0 < await store.pttl(store.keys.result("a")) <= 1000
    assert ID_MS - 5_000 < await store.pttl(store.keys.job("a")) <= ID_MS


async def test_no_result(store: Store) -> None:
    """Without one nothing is kept but the id, and nobody is told."""
    await store.settle(await store.deliver("a", mark=WaiterMode.NO_RESULT), keep_ms=0)
    assert await store.key_names() == STREAMS | {"job:a"}
    assert ID_MS - 5_000 < await store.pttl(store.keys.job("a")) <= ID_MS


async def test_owner(store: Store) -> None:
    """Who has a job now is known while somebody has it."""
    await store.enqueue("a")
    assert await store.results.owner_of("a") is None
    (delivery,) = await store.read("w1")
    assert await store.results.owner_of("a") == "w1"
    await store.deliveries.requeue([delivery])
    await store.read("w2")
    assert await store.results.owner_of("a") == "w2"
    assert await store.results.owner_of("unknown") is None


async def test_ender(store: Store) -> None:
    """Who has ended a job is known if the outcome says it, and is kept."""
    assert await store.results.ender_of("a") is None
    delivery = await store.deliver("a")
    outcome = signed(outcome_of(delivery), signature_of("w1"))
    await store.deliveries.settle([Settlement(delivery, HOUR_MS, outcome)], "w1")
    assert await store.results.ender_of("a") == "w1"
    await store.settle(await store.deliver("b"))
    assert await store.results.ender_of("b") is None


async def test_failed_for_good(store: Store) -> None:
    """A dead letter holds the entry as it was, how it ended, where, and with whom."""
    delivery = await store.deliver("a")
    outcome = b'{"state":"failed","n":1}'
    settlement = Settlement(delivery, HOUR_MS, outcome, is_dead=True)
    assert (await store.deliveries.settle([settlement], "w1")).refused == []
    assert (await store.deliveries.settle([settlement], "w1")).refused == []
    assert await store.stream_at(store.keys.dead) == [
        {
            "outcome": outcome.decode(),
            "worker": "w1",
            "stream": store.keys.stream("default"),
            "entry": delivery.entry.decode(),
            "id": "a",
            "n": "1",
            "job": ENVELOPE.decode(),
        }
    ]
    assert await store.call("GET", store.keys.result("a")) == outcome


async def test_failed_without_result(store: Store) -> None:
    """The dead letter has the outcome even where no result is kept."""
    delivery = await store.deliver("a", mark=WaiterMode.NO_RESULT)
    await store.deliveries.settle([Settlement(delivery, 0, b'{"n":1}', is_dead=True)], "w1")
    (letter,) = await store.stream_at(store.keys.dead)
    assert letter["outcome"] == '{"n":1}'
    assert await store.call("EXISTS", store.keys.result("a")) == 0


async def test_late_worker(store: Store) -> None:
    """Who finishes a delivery that another has ended changes nothing, and is told."""
    delivery = await store.deliver("a")
    await store.settle(delivery)
    kept = await store.call("GET", store.keys.result("a"))
    late = delivery._replace(number=2)
    assert await store.settle(late) == [late]
    assert await store.call("GET", store.keys.result("a")) == kept


@pytest.mark.parametrize("keep_ms", [HOUR_MS, 1000, 0])
async def test_repeated(store: Store, keep_ms: int) -> None:
    """The same delivery settled again after a lost reply is not refused."""
    delivery = await store.deliver("a")
    assert await store.settle(delivery, keep_ms=keep_ms) == []
    keys = await store.key_names()
    assert await store.settle(delivery, keep_ms=keep_ms) == []
    assert await store.key_names() == keys


@pytest.mark.parametrize("keep_ms", [HOUR_MS, 1000, 0])
async def test_another_number_without_result(store: Store, keep_ms: int) -> None:
    """The fence holds also where no result is kept."""
    delivery = await store.deliver("a")
    await store.settle(delivery, keep_ms=keep_ms)
    other = delivery._replace(number=7)
    assert await store.settle(other, keep_ms=keep_ms) == [other]


async def test_never_delivered(store: Store) -> None:
    """An entry that no worker has can not be ended."""
    await store.enqueue("a")
    made_up = Delivery(store.queue.place_of("default"), b"1-1", "a", 1, b"")
    assert await store.settle(made_up) == [made_up]
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_settle_notifies_the_inbox_of_a_waiter(store: Store) -> None:
    """The inbox gets the id with the outcome, and goes away if nobody empties it."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    await store.settle(delivery)
    inbox = store.keys.inbox("me")
    assert await store.list_at(inbox) == [b"a " + outcome_of(delivery)]
    assert 0 < await store.pttl(inbox) <= INBOX_MS


async def test_several_waiters(store: Store) -> None:
    """Each inbox that asked is told once."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    await store.results.subscribe("one", ["a"])
    await store.results.subscribe("other", ["a"])
    await store.settle(delivery)
    for name in ("me", "one", "other"):
        assert await store.list_at(store.keys.inbox(name)) == [b"a " + outcome_of(delivery)]


async def test_notices_travel_together(store: Store) -> None:
    """One call puts one element into each inbox: a line for each of its jobs."""
    await store.enqueue("a", "b", mark=WaiterMode.CALLER)
    await store.enqueue("c", mark=WaiterMode.CALLER, inbox="other")
    await store.enqueue("d")
    await store.settle(*(await store.read()))
    (mine,) = await store.list_at(store.keys.inbox("me"))
    assert [line.split(b" ")[0] for line in mine.split(b"\n")] == [b"a", b"b"]
    (theirs,) = await store.list_at(store.keys.inbox("other"))
    assert theirs.startswith(b"c ")


async def test_repeated_notice(store: Store) -> None:
    """A repeated settle tells nobody twice."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    await store.settle(delivery)
    await store.settle(delivery)
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


@pytest.mark.parametrize("over", [0, 1])
async def test_long_outcome(store: Store, over: int) -> None:
    """One that is too long does not come along: the notice is the id alone."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    outcome = b'{"n":1,"value":"' + b"x" * (NOTICE_BYTES - 18 + over) + b'"}'
    assert len(outcome) == NOTICE_BYTES + over
    await store.deliveries.settle([Settlement(delivery, HOUR_MS, outcome)], "w1")
    line = b"a" if over else b"a " + outcome
    assert await store.list_at(store.keys.inbox("me")) == [line]
    assert await store.call("GET", store.keys.result("a")) == outcome


async def test_many_of_several_lanes(store: Store) -> None:
    """A full batch ends all of its jobs, whichever lanes they came from."""
    ids = [f"j{number}" for number in range(SETTLE_LIMIT)]
    await store.enqueue(*ids[::2], lane="slow")
    await store.enqueue(*ids[1::2])
    deliveries = await store.read(count=1000)
    assert len(deliveries) == SETTLE_LIMIT
    assert await store.settle(*deliveries) == []
    for job_id in ids:
        raw = await store.call("GET", store.keys.result(job_id))
        assert isinstance(raw, bytes)
        assert orjson.loads(raw)["value"] == job_id
    assert await store.pending() == await store.pending("slow") == 0


async def test_some_of_a_batch_are_refused(store: Store) -> None:
    """The others end all the same."""
    await store.enqueue("a", "b", "c")
    a, b, c = await store.read()
    await store.settle(b)
    stranger = b._replace(number=2)
    assert await store.settle(a, stranger, c) == [stranger]
    assert await store.pending() == 0


async def test_foreign_job_among_the_cancelled_ends_as_it_did(store: Store) -> None:
    """Whether it was to be cancelled is not to be known: it ends as it did."""
    await store.enqueue("a", "b")
    a, b = await store.read()
    await store.call("ZADD", store.keys.cancelled, 1, "a")
    await store.call("DEL", store.keys.job("a"))
    await store.call("SET", store.keys.job("a"), "of another program")
    assert await store.settle(a, b) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(a)


@pytest.mark.parametrize("outcome", [("SET", "no JSON"), ("SET", "[]"), ("RPUSH", "a list")])
async def test_foreign_outcome_stops_no_other_end(store: Store, outcome: tuple[str, str]) -> None:
    """One that is no longer to be read tells nobody who ended the job: the others end."""
    await store.enqueue("a", "b")
    a, b = await store.read()
    await store.settle(a)
    await store.call("DEL", store.keys.result("a"))
    command, what = outcome
    await store.call(command, store.keys.result("a"), what)
    assert await store.settle(a, b) == [a]
    assert await store.call("GET", store.keys.result("b")) == outcome_of(b)


async def test_the_queue_was_flushed(store: Store) -> None:
    """A job that Redis has lost is refused, and nothing of it comes back."""
    delivery = await store.deliver("a")
    await store.call("FLUSHALL")
    assert await store.settle(delivery) == [delivery]
    assert not {"result:a", "job:a"} & await store.key_names()


@pytest.mark.parametrize("what", ["group", "stream"])
@pytest.mark.parametrize("is_back", [False, True])
async def test_deleted_beneath_a_running_job(store: Store, what: str, is_back: bool) -> None:
    """A job that runs when its group or stream is deleted ends all the same, and only once."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    stream = store.keys.stream("default")
    if what == "group":
        await store.call("XGROUP", "DESTROY", stream, GROUP)
    else:
        await store.call("DEL", stream)
    if is_back:
        await store.queue.create_groups(store.link)
    assert await store.settle(delivery) == []
    assert await store.settle(delivery) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(delivery)
    assert len(await store.list_at(store.keys.inbox("me"))) == 1
    await store.queue.create_groups(store.link)
    assert await store.read() == []


async def test_group_deleted_and_job_taken_over(store: Store) -> None:
    """Whoever has a later delivery is the one who may end it."""
    delivery = await store.deliver("a", "w1")
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    await store.queue.create_groups(store.link)
    await store.deliveries.requeue(await store.read("w2"))
    (later,) = await store.read("w2")
    assert await store.settle(delivery) == [delivery]
    assert await store.settle(later) == []
