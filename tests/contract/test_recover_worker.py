"""recover_worker.lua: the deliveries of a dead worker."""

from datetime import UTC, datetime
from importlib.resources import files
from typing import cast

import orjson
import pytest

from aiostreamq.model.delivery import Settlement, WaiterMode
from aiostreamq.model.keys import Keys
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.store.connection.link import Reply
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.enqueue import Submissions
from aiostreamq.store.queue import QueueStore
from aiostreamq.store.workers import RECOVER_LIMIT, WorkerRegistry
from tests.support.store import ENVELOPE, Store

LEASE_MS = 1_000


async def test_dead_workers_job_runs_elsewhere_and_its_outcome_is_refused(store: Store) -> None:
    """The delivery comes back under a higher number; the old one can settle nothing."""
    await store.workers.join("a", LEASE_MS)
    await store.enqueue("j")
    [old] = await store.read("a")
    reaped = await store.workers.recover("a", "0 1000", 3)
    [new] = await store.read("b")
    late = await store.deliveries.settle([Settlement(old, 60_000, b'{"state":"done","n":1}')], "a")
    in_time = await store.deliveries.settle(
        [Settlement(new, 60_000, b'{"state":"done","n":2}')], "b"
    )
    assert (reaped.returned, reaped.given_up, reaped.finished) == (1, 0, 1)
    assert (new.job_id, new.number, new.envelope) == ("j", 2, old.envelope)
    assert (late.refused, late.ended) == ([old], [])
    assert in_time.refused == []
    assert orjson.loads(await store.results.job_state("j") or b"")["n"] == 2


async def test_worker_that_beat_meanwhile_is_left_alone(store: Store) -> None:
    """A reaper that looked too long ago does nothing."""
    await store.workers.join("a", LEASE_MS)
    await store.enqueue("j")
    await store.read("a")
    await store.workers.renew("a", LEASE_MS)
    assert (await store.workers.recover("a", "0 1000", 3)).finished == -1
    assert await store.read("b") == []


async def test_poison_is_given_up(store: Store) -> None:
    """A job that was with as many dead workers as it may be ends among the dead letters."""
    await store.enqueue("j")
    await store.results.subscribe("box", ["j"])
    given_up: list[int] = []
    for worker in ("a", "b", "c"):
        await store.workers.join(worker, LEASE_MS)
        [delivery] = await store.read(worker)
        assert await store.workers.note_suspect_run(delivery)
        given_up.append((await store.workers.recover(worker, "0 1000", 3)).given_up)
    notice = cast("bytes", await store.call("LPOP", store.keys.inbox("box")))
    letters = cast("list[Reply]", await store.call("XRANGE", store.keys.dead, "-", "+"))
    assert given_up == [0, 0, 1]
    assert orjson.loads(notice.removeprefix(b"j "))["state"] == "dead"
    assert orjson.loads(await store.results.job_state("j") or b"")["error"]["type"] == "Poison"
    fields = cast("list[list[bytes]]", letters[0])[1]
    letter = dict(zip(fields[::2], fields[1::2], strict=True))
    assert letter[b"job"] == ENVELOPE
    assert letter[b"worker"] == b"c"
    assert [victim.split(b"@")[0] for victim in letter[b"d"].split()] == [b"a", b"b", b"c"]
    message = orjson.loads(letter[b"outcome"])["error"]["message"]
    assert message.partition(": ")[2] == ", ".join(map(told, letter[b"d"].decode().split()))
    assert orjson.loads(letter[b"outcome"])["error"]["type"] == "Poison"
    assert await store.read("d") == []


def told(victim: str) -> str:
    """Write a worker and when it died as people read it."""
    name, _, ms = victim.partition("@")
    return f"{name} at {datetime.fromtimestamp(int(ms) // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


async def test_calendar(store: Store) -> None:
    """The scripts write each month's first and last second of 135 years as Python does."""
    firsts = [datetime(1970 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(12 * 135)]
    times = [int(first.timestamp()) - back for first in firsts for back in (0, 1)]
    script = (
        files("aiostreamq.store").joinpath("lua/parts/time_text.lua").read_text()
        + "for at = 1, #ARGV do ARGV[at] = moment(tonumber(ARGV[at])) end return ARGV"
    )
    written = await store.call("EVAL", script, 0, *(1000 * time for time in times))
    assert written == [
        f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC".encode() for time in times
    ]


async def test_odd_victims(store: Store) -> None:
    """What strangers have written as the workers that died stops no recovery."""
    victims = f"x @7 y@z w@{'9' * 400} v@0"
    stream = store.queue.streams[-1]
    await store.call("XADD", stream, "*", "id", "j", "n", 3, "job", ENVELOPE, "d", victims)
    await store.workers.join("a", LEASE_MS)
    await store.read("a")
    assert (await store.workers.recover("a", "0 1000", 3)).given_up == 1
    letters = cast("list[Reply]", await store.call("XRANGE", store.keys.dead, "-", "+"))
    fields = cast("list[list[bytes]]", letters[0])[1]
    letter = dict(zip(fields[::2], fields[1::2], strict=True))
    message = orjson.loads(letter[b"outcome"])["error"]["message"]
    assert f"x, @7, y@z, w@{'9' * 400}, v at 1970-01-01 00:00:00 UTC, a at 2" in message


async def test_neighbour_of_poison_is_not_given_up(store: Store) -> None:
    """After its first dead worker, a delivery that was not run does not count."""
    await store.enqueue("j")
    deaths: list[int] = []
    for worker in "abcdef":
        await store.workers.join(worker, LEASE_MS)
        [delivery] = await store.read(worker)
        deaths.append(delivery.deaths)
        assert (await store.workers.recover(worker, "0 1000", 3)).returned == 1
    assert deaths == [0, 1, 1, 1, 1, 1]


async def test_late_outcome_of_poison_is_refused(store: Store) -> None:
    """The last worker that had a job when it was given up learns that it came too late."""
    await store.enqueue("j")
    await store.workers.join("a", LEASE_MS)
    [delivery] = await store.read("a")
    assert (await store.workers.recover("a", "0 1000", 1)).given_up == 1
    late = Settlement(delivery, 60_000, b'{"state":"done","n":1}')
    assert (await store.deliveries.settle([late], "a")).refused == [delivery]
    assert orjson.loads(await store.results.job_state("j") or b"")["state"] == "dead"


async def test_one_call_touches_a_bounded_number(store: Store) -> None:
    """A worker with much is recovered in several calls; nothing is lost between them."""
    ids = [f"j{number}" for number in range(RECOVER_LIMIT + 10)]
    await store.workers.join("a", LEASE_MS)
    await store.enqueue(*ids)
    assert len(await store.read("a", 1_000)) == len(ids)
    first = await store.workers.recover("a", "0 1000", 3)
    second = await store.workers.recover("a", "dead", 3)
    assert (first.returned, first.finished) == (RECOVER_LIMIT, 0)
    assert (second.returned, second.finished) == (10, 1)
    assert sorted(d.job_id for d in await store.read("b", 1_000)) == sorted(ids)


async def test_lane_that_is_not_known_to_the_reaper(store_url: str, store: Store) -> None:
    """What a worker of another release had of a lane of its own is recovered with the rest."""
    newer = QueueStore(connector_for(store_url), Keys("q"), [DEFAULT_LANE, "new", "empty"])
    await newer.open()
    await WorkerRegistry(newer).join("a", LEASE_MS, newer.lanes)
    await Submissions(newer).enqueue(
        [("j", newer.place_of("new"), WaiterMode.NOBODY, b"{}")], "box", 5
    )
    await Deliveries(newer).read(store.link, "a", 100, None)
    await store.call("DEL", newer.keys.stream("empty"))
    beat = (await store.hash_at(store.keys.workers))["a"]
    assert beat == "0 1000 default new empty"
    assert await store.workers.recover("a", beat, 3) == (1, 0, 1)
    assert [d.job_id for d in await store.read("b")] == ["j"]
    assert await store.call("HLEN", store.keys.workers) == 0
    newer.close()


async def test_worker_with_deliveries_is_kept_when_it_leaves(store: Store) -> None:
    """Leaving with work in hand keeps the name, so that others find it dead."""
    await store.workers.join("a", LEASE_MS)
    await store.enqueue("j")
    await store.read("a")
    await store.workers.deregister("a")
    assert "a" in await store.hash_at(store.keys.workers)


async def test_entry_of_others_is_recovered_as_it_is(store: Store) -> None:
    """An entry that is no job goes back with all its fields, for a worker to bury."""
    stream = store.queue.streams[1]
    await store.workers.join("a", LEASE_MS)
    await store.call("XADD", stream, "*", "some", "thing")
    await store.read("a")
    assert (await store.workers.recover("a", "0 1000", 3)).returned == 1
    read = await store.deliveries.read(store.link, "b", 10, None)
    assert len(read.unreadable) == 1


async def test_entry_under_the_id_of_another(store: Store) -> None:
    """What a stranger wrote under the id of a job comes back, but is no word on that job."""
    stream = store.queue.streams[1]
    await store.enqueue("j")
    [own] = await store.read("a")
    await store.call("XADD", stream, "*", "id", "j", "n", "1", "job", "garbage")
    await store.workers.join("b", LEASE_MS)
    await store.read("b")
    assert (await store.workers.recover("b", "0 1000", 3)).returned == 1
    [forged] = await store.read("c")
    await store.deliveries.dead_letter_unreadable(
        [(forged.stream, forged.entry)], encode_unreadable("forged"), "c"
    )
    assert await store.results.job_state("j") == b"running"
    done = Settlement(own, 60_000, b'{"state":"done","n":1}')
    assert (await store.deliveries.settle([done], "a")).refused == []


@pytest.mark.parametrize(
    "fields",
    [
        ["n", "1"] * 10_000,
        ["id", "j", "n", "9" * 400, "job", "{}"],
        ["id", "j", "n", "1", "job", "{}", "d", "x"],
    ],
)
async def test_odd_entry_is_recovered(store: Store, fields: list[str]) -> None:
    """Very many values and numbers that are none stop nobody."""
    await store.call("XADD", store.queue.streams[1], "*", *fields)
    await store.workers.join("a", LEASE_MS)
    await store.read("a")
    assert await store.workers.recover("a", "0 1000", 3) == (1, 0, 1)
