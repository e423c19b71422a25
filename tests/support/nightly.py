"""Cases of a test that are left to `make nightly`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from _pytest.mark import ParameterSet


def mostly_nightly(
    cases: Iterable[Sequence[object]], *, but: Collection[Sequence[object]]
) -> list[ParameterSet]:
    """Return the cases for `parametrize`, of which `make test` runs a few.

    Args:
        cases: All cases, each with the values of its parameters.
        but: The cases that run in `make test` too.
    """
    found = list(cases)
    unknown = [case for case in but if case not in found]
    assert not unknown, f"not among the cases: {unknown}"
    return [pytest.param(*case, marks=() if case in but else pytest.mark.nightly) for case in found]
