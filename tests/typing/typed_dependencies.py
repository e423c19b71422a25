"""The types of lifespans and dependencies. Never run, as `typed_tasks`."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Self, assert_type

from aiostreamq import Context, Depends, Lifespan, Queue

queue = Queue("memory://")


class State:
    """The value that the lifespan yields."""


class Session:
    """The value of a dependency."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state

    async def __aenter__(self) -> Self:
        """Be a context manager, which is not entered by itself."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Do nothing."""


@queue.lifespan
async def resources() -> AsyncGenerator[State]:
    """Yield the state."""
    yield State()


@queue.lifespan
@asynccontextmanager
async def decorated() -> AsyncGenerator[int]:
    """Yield a number."""
    yield 1


@queue.lifespan
def returned() -> AbstractAsyncContextManager[str]:
    """Return a context manager."""
    raise NotImplementedError


assert_type(resources, Lifespan[State])
assert_type(decorated, Lifespan[int])
assert_type(returned, Lifespan[str])


def plain() -> Session:
    """Return it."""
    return Session()


async def awaited() -> Session:
    """Return it later."""
    return Session()


def generator() -> Iterator[Session]:
    """Yield it."""
    yield Session()


def other_generator() -> Generator[Session, None, None]:
    """Yield it."""
    yield Session()


async def async_generator() -> AsyncIterator[Session]:
    """Yield it."""
    yield Session()


@contextmanager
def manager() -> Generator[Session]:
    """Yield it."""
    yield Session()


@asynccontextmanager
async def async_manager() -> AsyncGenerator[Session]:
    """Yield it."""
    yield Session()


assert_type(Depends(plain), Session)
assert_type(Depends(awaited), Session)
assert_type(Depends(generator), Session)
assert_type(Depends(other_generator), Session)
assert_type(Depends(async_generator), Session)
assert_type(Depends(manager), Session)
assert_type(Depends(async_manager), Session)
assert_type(Depends(Session), Session)
assert_type(Depends(resources), State)
assert_type(Depends(plain, scope="worker"), Session)
assert_type(Depends(plain, use_cache=False), Session)


@queue.task
async def with_state(ctx: Context[State], url: str) -> int:
    """Take a typed context."""
    assert_type(ctx.state, State)
    return len(url)


@queue.task
async def with_plain_context(ctx: Context, url: str) -> int:
    """Take a context without a type of the state."""
    assert_type(ctx.state, object)
    return len(url)


@queue.task
async def with_default(url: str, session: Session = Depends(generator)) -> int:
    """Take a dependency as a default value."""
    return len(url) if session.state is None else 0


Used = Annotated[Session, Depends(generator)]


@queue.task
def with_both(url: str, session: Used = Depends(generator), *, depth: int = 1) -> int:
    """Take it in both ways."""
    return len(url) * depth


async def enqueue() -> None:
    """Callers leave dependencies and the context out."""
    assert_type(await (await with_state.enqueue("u")), int)
    assert_type(await (await with_plain_context.enqueue("u")), int)
    assert_type(await (await with_default.enqueue("u")), int)
    assert_type(await (await with_both.enqueue("u", depth=2)), int)
    assert_type(await with_default("u", Session()), int)


async def open_by_hand() -> None:
    """A lifespan can be opened, and overridden."""
    async with resources() as state:
        assert_type(state, State)
    with queue.override(generator, plain), queue.override(resources, resources):
        pass


async def number() -> int:
    """Return something else."""
    return 1


def wrong_type(
    session: Session = Depends(number),  # pyright: ignore[reportArgumentType]
) -> None:
    """Take something else."""


queue.lifespan(number)  # pyright: ignore[reportCallIssue, reportArgumentType]
Depends("plain")  # pyright: ignore[reportCallIssue, reportArgumentType]
Depends(plain, scope="request")  # pyright: ignore[reportCallIssue, reportArgumentType]
