"""Group commit: what is added together is sent together."""

import asyncio
from collections.abc import Callable

import pytest

from aiostreamq.aio.batching import BATCH_BYTES, Futures, GroupCall, GroupCommit, split
from tests.support.waiting import wait_until


class Sender:
    """Takes batches, and lets each go only when told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0

    async def send(self, batch: list[int]) -> None:
        """Note *batch* and wait for the gate."""
        self.batches.append(batch)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1


async def test_a_lone_item() -> None:
    """It goes at once: there is no timer to wait for."""
    sender = Sender()
    commit = GroupCommit(sender.send, 10)
    commit.add(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sender.batches == [[1]]
    await commit.join()


async def test_all_of_one_turn() -> None:
    """What is added in one turn of the loop goes together."""
    sender = Sender()
    commit = GroupCommit(sender.send, 10)
    for item in range(5):
        commit.add(item)
    await commit.join()
    assert sender.batches == [[0, 1, 2, 3, 4]]


async def test_while_one_is_under_way() -> None:
    """What comes in between waits, and leaves together next."""
    sender = Sender()
    sender.gate.clear()
    commit = GroupCommit(sender.send, 10)
    commit.add(0)
    await wait_until(lambda: sender.batches, "the first batch to leave")
    for item in range(1, 5):
        commit.add(item)
        await asyncio.sleep(0)
    assert sender.batches == [[0]]
    sender.gate.set()
    await commit.join()
    assert sender.batches == [[0], [1, 2, 3, 4]]


async def test_more_than_fits() -> None:
    """It is cut into batches that are sent in order without waiting for each other."""
    sender = Sender()
    commit = GroupCommit(sender.send, 4)
    for item in range(10):
        commit.add(item)
    await commit.join()
    assert sender.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_added_by_the_sending_itself() -> None:
    """An item that is added while its predecessor lands is not forgotten."""
    sent: list[int] = []

    async def send(batch: list[int]) -> None:
        sent.extend(batch)
        if sent[-1] < 5:
            commit.add(sent[-1] + 1)
        await asyncio.sleep(0)

    commit = GroupCommit(send, 10)
    commit.add(0)
    await commit.join()
    assert sent == [0, 1, 2, 3, 4, 5]


async def test_join_with_nothing_to_do() -> None:
    """It returns at once."""
    await GroupCommit(Sender().send, 1).join()


async def test_join_is_cancelled() -> None:
    """The batches go on without whom waited for them."""
    sender = Sender()
    sender.gate.clear()
    commit = GroupCommit(sender.send, 10)
    commit.add(1)
    joining = asyncio.create_task(commit.join())
    await wait_until(lambda: sender.at_once, "the batch to leave")
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert sender.at_once == 1
    sender.gate.set()
    await commit.join()
    assert sender.at_once == 0


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_every_item_is_sent_once(turns: int) -> None:
    """However adding and sending interleave, each item goes once and in order."""
    sender = Sender()
    commit = GroupCommit(sender.send, 7)
    for item in range(200):
        commit.add(item)
        if item % 3 == 0:
            for _ in range(turns):
                await asyncio.sleep(0)
    await commit.join()
    assert [item for batch in sender.batches for item in batch] == list(range(200))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_call_gets_the_answer_to_its_own_item(turns: int) -> None:
    """However calls and batches interleave, each future has the answer to its item."""

    async def send(batch: list[int], futures: "Futures[int]") -> None:
        await asyncio.sleep(0)
        for item, future in zip(batch, futures, strict=True):
            if not future.done():
                future.set_result(-item)

    calls = GroupCall[int, int](send, 7)
    futures: list[asyncio.Future[int]] = []
    for item in range(200):
        futures.append(calls.put(item))
        if item % 5 == 0:
            futures[-1].cancel()
        if item % 3 == 0:
            for _ in range(turns):
                await asyncio.sleep(0)
    await calls.join()
    for item, future in enumerate(futures):
        assert future.cancelled() if item % 5 == 0 else future.result() == -item


async def test_a_bug_in_the_sending() -> None:
    """It is told to the loop's handler, and later items still go."""
    told: list[object] = []
    handler: Callable[[asyncio.AbstractEventLoop, dict[str, object]], None]
    handler = lambda _, context: told.append(context.get("exception"))  # noqa: E731
    asyncio.get_running_loop().set_exception_handler(handler)
    sent: list[int] = []

    async def send(batch: list[int]) -> None:
        sent.extend(batch)
        if 0 in batch:
            raise ZeroDivisionError

    commit = GroupCommit(send, 10)
    commit.add(0)
    await wait_until(lambda: told, "the bug to be told")
    assert isinstance(told[0], ZeroDivisionError)
    commit.add(1)
    await commit.join()
    assert sent == [0, 1]


#: A batch of ten has ten places of this many bytes.
PLACE = BATCH_BYTES // 10

#: Sizes of items in the order in which they are added, and how many each batch then has. Those of
#: 0 bytes are small: nobody has looked at their size.
SIZES: dict[str, tuple[list[int], list[int]]] = {
    "small ones": ([0] * 25, [10, 10, 5]),
    "one that takes all": ([BATCH_BYTES], [1]),
    "one that is longer than a batch": ([0, 5 * BATCH_BYTES, 0], [1, 1, 1]),
    "two places each": ([PLACE + 1] * 12, [5, 5, 2]),
    "large among small": ([0, 0, 4 * PLACE, 0, 0, 0, 0, 0, 0], [7, 2]),
    "small before large": ([0] * 7 + [4 * PLACE, 0], [7, 2]),
    "small behind a full one": ([BATCH_BYTES] * 5 + [0] * 3, [1, 1, 1, 1, 1, 3]),
}


@pytest.mark.parametrize("case", SIZES)
async def test_bounded_in_bytes(case: str) -> None:
    """A batch has as many items as fit into its bytes, and one item always goes; order is kept."""
    sizes, lengths = SIZES[case]
    sender = Sender()
    commit = GroupCommit(sender.send, 10)
    for item, size in enumerate(sizes):
        if size:
            commit.add_large(item, size)
        else:
            commit.add(item)
    await commit.join()
    assert [len(batch) for batch in sender.batches] == lengths
    assert [item for batch in sender.batches for item in batch] == list(range(len(sizes)))


async def test_large_ones_wait_for_others() -> None:
    """Only some batches with large items are under way; those behind them keep their order."""
    sender = Sender()
    sender.gate.clear()
    commit = GroupCommit(sender.send, 10, large_under_way=2)
    for item in range(6):
        commit.add_large(item, BATCH_BYTES)
    for item in range(6, 16):
        commit.add(item)
    await wait_until(lambda: sender.batches, "the first batches to leave")
    sender.gate.set()
    await commit.join()
    assert sender.most_at_once == 2
    assert [item for batch in sender.batches for item in batch] == list(range(16))


async def test_overdue() -> None:
    """Calls that have waited too long for other batches can be taken out, and are not sent."""
    gate = asyncio.Event()
    sent: list[int] = []

    async def send(batch: list[int], futures: "Futures[int]") -> None:
        del futures
        sent.extend(batch)
        await gate.wait()

    calls = GroupCall[int, int](send, 10, large_under_way=1)
    futures = [calls.put_large(item, BATCH_BYTES) for item in range(3)]
    assert calls.take_overdue(60) == ([], [])
    assert calls.take_overdue(0) == ([1, 2], futures[1:])
    gate.set()
    await calls.join()
    assert sent == [0]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1], [1]),
        ([BATCH_BYTES * 3], [1]),
        ([0] * 11, [5, 5, 1]),
        ([BATCH_BYTES // 2] * 5, [2, 2, 1]),
        ([BATCH_BYTES, 1, BATCH_BYTES - 1, 1], [1, 2, 1]),
        ([BATCH_BYTES + 1] * 3, [1, 1, 1]),
    ],
)
def test_split(sizes: list[int], batches: list[int]) -> None:
    """A batch has so many items, and so many bytes; each item is in one, in their order."""
    found = list(split(sizes, 5, lambda size: size))
    assert [len(batch) for batch in found] == batches
    assert [size for batch in found for size in batch] == sizes
