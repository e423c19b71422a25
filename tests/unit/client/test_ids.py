"""The ids of jobs are unique, sortable and valid."""

import os
import re
import time

import pytest

from aiostreamq.client.ids import new_job_id
from aiostreamq.model.options import checked_job_id


def test_form() -> None:
    """22 letters and digits, which are an id like one that a user gives."""
    job_id = new_job_id()
    assert re.fullmatch(r"[0-9A-Za-z]{22}", job_id)
    assert checked_job_id(job_id) == job_id


def test_each_is_another() -> None:
    """No id is made twice, also past the end of what was drawn at once."""
    assert len({new_job_id() for _ in range(5_000)}) == 5_000


def test_they_tell_when() -> None:
    """Sorted they are in the order of their time."""
    before = int(time.time() * 1000)
    made = int(new_job_id()[:11], 16)
    assert before <= made <= int(time.time() * 1000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_makes_its_own() -> None:
    """A child process does not repeat the ids of its parent."""
    new_job_id()  # so that there is something drawn to inherit
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(new_job_id()[11:] for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(read, 10_000).decode()
    os.close(read)
    os.close(write)
    theirs = {told[at : at + 11] for at in range(0, len(told), 11)}
    assert len(theirs) == 100
    assert not theirs & {new_job_id()[11:] for _ in range(600)}
