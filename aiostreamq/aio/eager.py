"""Start asyncio tasks at once if Python can (3.12 and later).

A task that is started eagerly runs up to its first real wait before this call returns: a
command is sent without another turn of the event loop, and a coroutine that never waits
does not go through the loop at all.
"""

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from aiostreamq.aio.own_tasks import OwnTask

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

if sys.version_info >= (3, 12):

    def start_task(
        coroutine: "Coroutine[Any, Any, None]",
        loop: asyncio.AbstractEventLoop,
        *,
        name: str | None = None,
        context: "Context | None" = None,
        kind: type[OwnTask[None]] = OwnTask,
    ) -> OwnTask[None]:
        """Start *coroutine* now; the task may be done when this returns."""
        return kind(coroutine, loop=loop, name=name, context=context, eager_start=True)
else:

    def start_task(
        coroutine: "Coroutine[Any, Any, None]",
        loop: asyncio.AbstractEventLoop,
        *,
        name: str | None = None,
        context: "Context | None" = None,
        kind: type[OwnTask[None]] = OwnTask,
    ) -> OwnTask[None]:
        """Start *coroutine* in the next turn of the loop."""
        return kind(coroutine, loop=loop, name=name, context=context)
