"""The example of several modules and queues, as its page describes it."""

from __future__ import annotations

from aiostreamq import Queue
from tests.examples.processes import running
from tests.examples.test_scripts import run_script

ORDER = ("-m", "examples.shop.place_order", "ada@example.com", "tea", "cake")
CONFIRMED = "shop@example.com to ada@example.com: thanks for 2 items\n"
QUEUES = ("examples.shop.queues:orders_queue", "examples.shop.queues:mail_queue")


def test_in_one_process() -> None:
    """With `--here` the program is its own worker, also in memory."""
    done = run_script(*ORDER, "--here", url="memory://shop")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", CONFIRMED)


async def test_one_worker_for_both_queues(redis_url: str) -> None:
    """One process serves both queues, with the schedule; the command line needs no code."""
    command = ("-m", "aiostreamq", "run", *QUEUES, "--concurrency", "1")
    async with running(*command, url=redis_url, until="shop.mail, lanes"):
        done = run_script(*ORDER, url=redis_url)
        assert (done.stderr, done.stdout) == ("", CONFIRMED)
        named = ("-m", "aiostreamq", "schedules", "ls", "--queue", "shop.orders", "--json")
        assert '"orders.report"' in run_script(*named, url=redis_url).stdout


async def test_a_worker_for_each_queue(redis_url: str) -> None:
    """Each queue can have a process of its own: the names of the tasks lead to it."""
    orders, mail = (("-m", "aiostreamq", "run", queue) for queue in QUEUES)
    async with (
        running(*orders, url=redis_url, until="orders.place"),
        running(*mail, url=redis_url, until="mail.send"),
        Queue(redis_url, name="shop.mail") as other,
    ):
        assert run_script(*ORDER, url=redis_url).stdout == CONFIRMED
        job = await other.enqueue("mail.send", "ada", text="hello")
        assert await job == "shop@example.com to ada: hello"
