"""The same tasks in an application that starts in one process only."""

import os
from pathlib import Path

from tests.integration.supervised_app import queue

__all__ = ["queue"]

try:
    Path(os.environ["ONLY_ONE"]).touch(exist_ok=False)
except FileExistsError:
    raise RuntimeError("there is one already") from None
