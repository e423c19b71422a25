"""resume.lua: pauses end."""

from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.pauses import PauseStore
from tests.support.store import Store


async def test_resume_ends_the_named_pauses_once(store: Store) -> None:
    """It counts those that it has ended; the others hold."""
    pauses = PauseStore(store.queue)
    await pauses.pause(["task:a", "lane:slow"], "0")
    assert await pauses.resume(["task:a", "task:unknown"]) == 1
    assert await pauses.resume(["task:a", "task:unknown"]) == 0
    assert (await pauses.paused())[1] == {"lane:slow": 0}


async def test_repeated_resume_is_sent_to_workers(store: Store) -> None:
    """Workers may have missed the first message, so the second is sent as well."""
    pauses = PauseStore(store.queue)
    await pauses.pause(["task:a"], "0")
    end = await ControlStream(store.queue).end()
    await pauses.resume(["task:a"])
    await pauses.resume(["task:a"])
    _, messages = await ControlStream(store.queue).listen(store.link, end, 1000)
    assert messages == [{"say": "pause"}] * 2
