"""`--reload` says what to install if its extra is missing."""

import importlib.util

import pytest

from aiostreamq import UsageError
from aiostreamq.cli.process.reload import check_reload


def test_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with what to type."""
    check_reload()

    def find_nothing(name: str) -> None:
        assert name == "watchfiles"

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    with pytest.raises(UsageError, match=r"pip install 'aiostreamq\[cli\]'"):
        check_reload()
