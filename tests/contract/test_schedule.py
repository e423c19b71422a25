"""delay, promote and retry: jobs for later, each once."""

from collections.abc import AsyncIterator
from typing import NamedTuple, cast

import pytest

from aiostreamq.model.delivery import Delivery, Mark, Retrial, Settlement
from aiostreamq.model.keys import Keys
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.broker import Broker, Standing
from aiostreamq.store.connector import connector_for
from aiostreamq.store.link import Link
from aiostreamq.store.roster import Roster
from aiostreamq.store.schedule import PROMOTE_LIMIT, Schedule
from aiostreamq.store.steering import Steering

ENVELOPE = b'{"v":1,"task":"t"}'
LONG_AGO = "1000"


class Scene(NamedTuple):
    """A queue with its schedule, and a connection of the test's own."""

    broker: Broker
    schedule: Schedule
    link: Link

    async def delay(self, job_id: str, due: str, mark: str = Mark.NOBODY) -> set[int]:
        """Keep one job for later."""
        return await self.schedule.delay([(job_id, DEFAULT_LANE, mark, due, ENVELOPE)], "box", 5)

    async def read(self, worker: str = "a") -> list[Delivery]:
        """Have *worker* be sent what is there."""
        return (await self.broker.read(self.link, worker, 1_000, None)).deliveries

    async def words(self) -> int:
        """How often the workers were told something."""
        return cast("int", await self.link.call("XLEN", self.broker.keys.control))


@pytest.fixture
async def scene(store_url: str) -> AsyncIterator[Scene]:
    """An empty queue."""
    connector = connector_for(store_url)
    broker = Broker(connector, Keys("q"), [DEFAULT_LANE])
    await broker.open()
    link = await connector.open_link("test")
    yield Scene(broker, Schedule(broker), link)
    link.close()
    broker.close()


async def test_job_waits_until_it_is_due(scene: Scene) -> None:
    """Before its time nothing can be read, and the time until then is told."""
    await scene.delay("j", "+60000")
    moved, wait = await scene.schedule.promote()
    assert moved == 0
    assert wait == pytest.approx(60, abs=1)
    assert await scene.read() == []
    assert await scene.broker.status("j") == b"delayed"
    assert await scene.broker.subscribe("box", ["j"]) == [Standing.WILL_TELL]


async def test_due_job_is_in_its_lane(scene: Scene) -> None:
    """It is a job like any other then, and promoting again finds nothing."""
    await scene.delay("j", LONG_AGO, Mark.CALLER)
    assert await scene.schedule.promote() == (1, None)
    assert await scene.schedule.promote() == (0, None)
    assert await scene.broker.status("j") == b"queued"
    [delivery] = await scene.read()
    assert (delivery.job_id, delivery.number, delivery.attempt) == ("j", 1, 1)
    assert delivery.envelope == ENVELOPE
    await scene.broker.settle([Settlement(delivery, 60_000, b'{"state":"done","n":1}')], "a")
    assert await scene.link.call("LPOP", scene.broker.keys.inbox("box")) is not None


async def test_id_is_taken_while_it_waits(scene: Scene) -> None:
    """A delay that is repeated after a lost reply makes one job, and keeps its time."""
    assert await scene.delay("j", "+60000") == set()
    assert await scene.delay("j", LONG_AGO) == {0}
    place = scene.broker.place_of(DEFAULT_LANE)
    assert await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5) == {0}
    assert (await scene.schedule.promote())[0] == 0


async def test_one_call_moves_a_bounded_number(scene: Scene) -> None:
    """What is left is due at once; nothing is lost or moved twice."""
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    jobs = [(job_id, DEFAULT_LANE, Mark.NOBODY, LONG_AGO, ENVELOPE) for job_id in ids]
    await scene.schedule.delay(jobs, "box", 5)
    assert await scene.schedule.promote() == (PROMOTE_LIMIT, 0)
    assert await scene.schedule.promote() == (10, None)
    assert sorted(d.job_id for d in await scene.read()) == sorted(ids)


async def test_workers_are_woken_by_what_is_earlier(scene: Scene) -> None:
    """Only a job that is due before all others is worth a word."""
    await scene.delay("a", "+60000")
    await scene.delay("b", "+90000")
    assert await scene.words() == 1
    await scene.delay("c", "+30000")
    assert await scene.words() == 2


async def test_retry_at_once(scene: Scene) -> None:
    """The next attempt is a new delivery, ahead of what waits."""
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    [first] = await scene.read()
    assert await scene.schedule.retry([Retrial(first, 0)]) == []
    [second] = await scene.read("b")
    assert (second.job_id, second.number, second.attempt) == ("j", 2, 2)
    assert scene.broker.streams[second.stream - 1].endswith(":returned")


async def test_retry_later(scene: Scene) -> None:
    """The job keeps its id, its payload and its count of attempts while it waits."""
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.CALLER, ENVELOPE)], "box", 5)
    [first] = await scene.read()
    await scene.schedule.retry([Retrial(first, 1)])
    assert await scene.broker.status("j") == b"delayed"
    while not (await scene.schedule.promote())[0]:
        pass
    [second] = await scene.read()
    assert (second.number, second.attempt, second.envelope) == (2, 2, ENVELOPE)
    await scene.schedule.retry([Retrial(second, 0)])
    [third] = await scene.read()
    assert (third.number, third.attempt) == (3, 3)


async def test_late_retry_is_refused(scene: Scene) -> None:
    """A worker that has lost the job can not send it round again."""
    roster = Roster(scene.broker)
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    await roster.join("a", 1_000)
    [old] = await scene.read("a")
    await roster.reap("a", "0 1000", 3)
    assert await scene.schedule.retry([Retrial(old, 0)]) == [old]
    [new] = await scene.read("b")
    assert (new.number, new.attempt) == (2, 1)
    assert await scene.read("b") == []


@pytest.mark.parametrize("delay_ms", [0, 1, 60_000])
async def test_repeated_retry(scene: Scene, delay_ms: int) -> None:
    """Repeated after a lost reply it is not refused, wherever the next attempt has got to."""
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    [first] = await scene.read("a")
    assert await scene.schedule.retry([Retrial(first, delay_ms)]) == []
    assert await scene.schedule.retry([Retrial(first, delay_ms)]) == []
    if delay_ms == 60_000:
        assert await scene.broker.status("j") == b"delayed"
        return
    while delay_ms and not (await scene.schedule.promote())[0]:
        pass
    assert await scene.schedule.retry([Retrial(first, delay_ms)]) == []
    [second] = await scene.read("b")
    assert (second.number, second.attempt) == (2, 2)
    assert await scene.schedule.retry([Retrial(first, delay_ms)]) == []
    assert await scene.read("b") == []


async def test_retry_after_others_have_retried(scene: Scene) -> None:
    """The attempt of another worker, which has taken the job over, is not taken for one's own."""
    roster = Roster(scene.broker)
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    await roster.join("a", 1_000)
    [old] = await scene.read("a")
    await roster.reap("a", "0 1000", 3)
    [new] = await scene.read("b")
    assert await scene.schedule.retry([Retrial(new, 60_000)]) == []
    assert await scene.schedule.retry([Retrial(old, 60_000)]) == [old]


async def test_repeated_retry_of_a_cancelled_job(scene: Scene) -> None:
    """It has ended as was asked, which is nothing to complain of."""
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    [first] = await scene.read("a")
    await Steering(scene.broker).cancel(["j"])
    assert await scene.schedule.retry([Retrial(first, 0)]) == []
    assert await scene.schedule.retry([Retrial(first, 0)]) == []
    assert await scene.read("b") == []


async def test_attempts_do_not_count_as_deaths(scene: Scene) -> None:
    """A job that was retried often is not given up for one worker that died with it."""
    roster = Roster(scene.broker)
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    for _ in range(5):
        [delivery] = await scene.read("a")
        await scene.schedule.retry([Retrial(delivery, 0)])
    await roster.join("b", 1_000)
    await scene.read("b")
    reaped = await roster.reap("b", "0 1000", 3)
    [delivery] = await scene.read("c")
    assert (reaped.returned, reaped.given_up) == (1, 0)
    assert (delivery.number, delivery.attempt) == (7, 6)


async def test_parked_job_is_released(scene: Scene) -> None:
    """It leaves the stream, can be waited for, and comes back as it was for those who know it."""
    place = scene.broker.place_of(DEFAULT_LANE)
    await scene.broker.enqueue([("j", place, Mark.NOBODY, ENVELOPE)], "box", 5)
    [first] = await scene.read("a")
    assert await scene.schedule.park([(first, "t")]) == 1
    assert await scene.schedule.park([(first, "t")]) == 0, "it is not ours any more"
    assert await scene.broker.status("j") == b"parked"
    assert await scene.broker.subscribe("box", ["j"]) == [Standing.WILL_TELL]
    assert await scene.schedule.release(["other"]) == 0
    assert await scene.schedule.release(["other", "t"]) == 1
    assert await scene.schedule.release(["t"]) == 0
    [second] = await scene.read("b")
    assert (second.job_id, second.envelope, second.attempt) == ("j", ENVELOPE, 1)
    assert await scene.link.call("EXISTS", scene.broker.keys.prefix + "parked:t") == 0


async def test_many_parked_jobs_are_released_in_bounded_steps(scene: Scene) -> None:
    """All of them come back, however many they are."""
    place = scene.broker.place_of(DEFAULT_LANE)
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    jobs = [(job_id, place, Mark.NOBODY, ENVELOPE) for job_id in ids]
    await scene.broker.enqueue(jobs, "box", 5)
    assert await scene.schedule.park([(d, "t") for d in await scene.read()]) == len(ids)
    assert await scene.schedule.release(["t"]) == len(ids)
    assert sorted(d.job_id for d in await scene.read("b")) == sorted(ids)
