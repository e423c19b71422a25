"""How workers call a task, and what travels back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from aiostreamq.model.functions.callables import style_of, travelling


def plain() -> int:
    """Return a value."""
    return 1


async def coroutine() -> int:
    """Return a value later."""
    return 1


def around_a_coroutine() -> Awaitable[int]:
    """Return what has to be awaited."""
    return coroutine()


async def stream() -> AsyncIterator[str]:
    """Yield values."""
    yield "a"


@pytest.mark.parametrize(
    ("function", "returned", "style", "sent"),
    [
        (plain, int, "plain", int),
        (coroutine, int, "awaited", int),
        (around_a_coroutine, Awaitable[int], "awaited", int),
        (around_a_coroutine, Awaitable, "awaited", Any),
        (stream, AsyncIterator[str], "streamed", str),
        (stream, AsyncIterator, "streamed", Any),
    ],
)
def test_annotation_says_how_a_function_gives_its_result(
    function: Callable[..., object], returned: object, style: str, sent: object
) -> None:
    """A `def` that returns an awaitable is awaited, and the value inside is sent."""
    assert style_of("t", function, returned) == style
    assert travelling(function, returned) is sent
