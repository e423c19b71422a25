"""A task process finds the function of a task, and nothing else."""

import math

import pytest

from aiostreamq import UsageError
from aiostreamq.worker.run.process_call import find_function
from tests.support import cpu_jobs


def test_task() -> None:
    """Under a task's name in its module is the task: what is called is its function."""
    function, signature, *_ = find_function(cpu_jobs.__name__, "where", "where")
    assert function is cpu_jobs.where.spec.function
    assert signature is cpu_jobs.where.spec.signature


def test_function() -> None:
    """A task made from a function that keeps its name is found too."""
    function, signature, *_ = find_function(cpu_jobs.__name__, "Item.__eq__", "same")
    assert function is cpu_jobs.Item.__eq__
    assert signature.restore_arguments([1, 2], {}) == ([1, 2], {})


@pytest.mark.parametrize(
    ("module", "qualname"),
    [("math", "no_such_name"), ("math", "pi"), (cpu_jobs.__name__, "queue"), ("math", "pi.real.x")],
)
def test_something_else(module: str, qualname: str) -> None:
    """Anything else under that name is refused, and never called."""
    assert math.pi
    with pytest.raises(UsageError, match="task 'odd': its process found no function"):
        find_function(module, qualname, "odd")


def test_no_module() -> None:
    """A module that cannot be imported here is Python's own error."""
    with pytest.raises(ModuleNotFoundError):
        find_function("no.such.module", "f", "odd")
