"""The arguments of a job as they are shown: by parameter, with secrets masked.

Secrets that a task declares are masked already. Here the names of parameters count as well, of
tasks that are registered in this process.
"""

from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.model.values.masking import MASK
from aiostreamq.web.secret_names import is_secret_name, without_secrets
from aiostreamq.web.values import as_line

if TYPE_CHECKING:
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.model.info import JobInfo

# Characters of a call in one line.
_LONGEST = 300


class Argument(NamedTuple):
    """One argument, masked."""

    name: str  #: of its parameter; the place from 0 if that is unknown
    value: object  #: plain JSON
    is_keyword: bool


def arguments_of(queue: "QueueClient", job: "JobInfo | DeadLetter") -> list[Argument]:
    """Return the arguments of a job; none if they are not kept."""
    if job.args is None:
        return []
    task = queue.tasks.get(job.task)
    signature = None if task is None else task.spec.signature
    found: list[Argument] = []
    for place, value in enumerate(job.args):
        name = None if signature is None else signature.name_of(place)
        found.append(Argument(name or str(place), _masked(name or "", value), is_keyword=False))
    for name, value in (job.kwargs or {}).items():
        found.append(Argument(name, _masked(name, value), is_keyword=True))
    return found


def call_in_line(arguments: list[Argument]) -> str:
    """Return arguments as they stand in a call, in one line."""
    parts = [
        f"{one.name}={as_line(one.value)}" if one.is_keyword else as_line(one.value)
        for one in arguments
    ]
    return ", ".join(parts)[:_LONGEST]


def holds_text(arguments: list[Argument], text: str) -> bool:
    """Return whether a text is in what is shown of arguments, in upper or lower case."""
    shown = as_line({one.name: one.value for one in arguments}, 1_000_000)
    listed = as_line([one.value for one in arguments], 1_000_000)
    return text.lower() in shown.lower() or text.lower() in listed.lower()


def _masked(name: str, value: object) -> object:
    if is_secret_name(name) and value not in (None, ""):
        return MASK
    return without_secrets(value)
