"""Enqueues that are too large, by the limit of the queue or of Redis: they fail, and no others."""

from typing import TYPE_CHECKING, TypeVar

from aiostreamq.errors import PayloadError
from aiostreamq.model.delivery import DelayedSubmission, Submission
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.store.enqueue import Refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiostreamq.store.connection.link import CallTooLarge

Item = TypeVar("Item", Submission, DelayedSubmission)


async def send_halves(
    jobs: "Sequence[Item]",
    send: "Callable[[Sequence[Item]], Awaitable[Refusals]]",
    refusal: "CallTooLarge",
) -> Refusals:
    """Enqueue jobs in two halves, as Redis has refused the size of all together.

    Args:
        jobs: The jobs. If it is a single one, it is the one that is too large.
        send: Enqueues some; it calls this again if Redis refuses a half.
        refusal: The answer of Redis.
    """
    middle = len(jobs) // 2
    if not middle:
        return Refusals(set(), set(), errors={0: _too_large(jobs[0], refusal)})
    first, second = await send(jobs[:middle]), await send(jobs[middle:])
    return Refusals(
        first.taken | {place + middle for place in second.taken},
        first.full | {place + middle for place in second.full},
        first.is_certain and second.is_certain,
        {**first.errors, **{middle + at: error for at, error in second.errors.items()}},
    )


def _too_large(job: Submission | DelayedSubmission, refusal: "CallTooLarge") -> PayloadError:
    envelope = job[-1]
    error = PayloadError(
        f"task {decode_envelope(envelope).task!r}: Redis does not take a payload of "
        f"{len(envelope):,} bytes: send a reference to the data, or raise the limit of Redis. "
        f"{refusal}"
    )
    error.__cause__ = refusal
    return error


def over_limit(task: str, envelope: bytes, most: int) -> PayloadError:
    """Return the error for a call that is over the limit of the queue, *most* bytes."""
    return PayloadError(
        f"task {task!r}: a payload of {len(envelope):,} bytes is over the limit of {most:,}: send "
        f"a reference to the data, or raise Queue(max_payload=)"
    )
