"""Watching the code for changes, for `--reload`."""

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

from aiostreamq.errors import UsageError


def check_reload() -> None:
    """Check that `--reload` can work.

    Raises:
        UsageError: The extra that it needs is not installed.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise UsageError("--reload needs the extra: pip install 'aiostreamq[cli]'")


async def watch_code(folder: Path, on_change: Callable[[list[str]], None]) -> None:
    """Call *on_change* with the names of Python files under *folder* as they change.

    Ends only when it is cancelled, which is safe.
    """
    from watchfiles import (
        PythonFilter,
        awatch,  # pyright: ignore[reportUnknownVariableType]  # it names a type of trio's too
    )

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # our line names the files
    async for changes in awatch(folder, watch_filter=PythonFilter()):
        on_change(sorted({str(Path(path).relative_to(folder)) for _, path in changes}))
