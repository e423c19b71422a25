"""Reading ahead: order, errors and the end of the source."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from aiostreamq.aio.read_ahead import read_ahead
from tests.support.waiting import wait_until


class Source:
    """Pages that are counted when they are read."""

    def __init__(self, pages: int, error: Exception | None = None) -> None:
        self.read = 0
        self.is_closed = False
        self._pages = pages
        self._error = error

    async def pages(self) -> AsyncGenerator[int]:
        """Yield the numbers of the pages."""
        try:
            for number in range(self._pages):
                await asyncio.sleep(0)
                self.read += 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.is_closed = True


@pytest.mark.parametrize("pages", [0, 1, 5])
async def test_yields_all(pages: int) -> None:
    """All pages come, in their order."""
    source = Source(pages)
    assert [page async for page in read_ahead(source.pages())] == list(range(pages))
    assert source.is_closed


async def test_reads_one_ahead() -> None:
    """The next page is read while the caller works, and no further one."""
    source = Source(5)
    async with aclosing(read_ahead(source.pages())) as pages:
        async for page in pages:
            due = min(5, page + 2)
            await wait_until(lambda due=due: source.read >= due, "the next page")
            for _ in range(20):
                await asyncio.sleep(0)
            assert source.read == due


async def test_error_comes_after_the_pages() -> None:
    """The error of the source is raised when its pages have been handled."""
    pages = read_ahead(Source(2, ValueError("broken")).pages())
    assert [await anext(pages), await anext(pages)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        await anext(pages)


@pytest.mark.parametrize("error", [None, ValueError("in vain")])
async def test_closing_closes_the_source(error: Exception | None) -> None:
    """A caller that stops early leaves nothing running, whatever was read in vain."""
    source = Source(1 if error else 9, error)
    async with aclosing(read_ahead(source.pages())) as pages:
        assert await anext(pages) == 0
        await wait_until(lambda: source.is_closed or source.read > 1, "what is read ahead")
    assert source.is_closed


async def test_cancelling_closes_the_source() -> None:
    """A caller that is cancelled while it waits for a page leaves nothing running."""
    source = Source(10**9)

    async def read() -> None:
        async with aclosing(read_ahead(source.pages())) as pages:
            async for _ in pages:
                await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await wait_until(lambda: source.read > 9, "some pages")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.is_closed
