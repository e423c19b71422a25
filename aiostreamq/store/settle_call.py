"""The arguments of the scripts that end deliveries."""

from typing import TYPE_CHECKING

from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Settlement
    from aiostreamq.store.connection.link import Argument

# Arguments of settle.lua for each delivery, and of settle_and_continue.lua for each callback, each
# key, and each delivery that holds permits.
SETTLE_VALUES, CALLBACK_VALUES, KEY_VALUES, PERMIT_VALUES = 7, 5, 2, 2


def settle_call(
    batch: "Sequence[Settlement]", prefix: str, settings: "Sequence[Argument]"
) -> "tuple[str, list[Argument]]":
    """Return the script that ends deliveries, and its arguments.

    Args:
        batch: The ends.
        prefix: That of the queue's keys.
        settings: The arguments of settle.lua between the prefix and the deliveries.
    """
    jobs: list[Argument] = []
    callbacks: list[Argument] = []
    keys: list[Argument] = []
    permits: list[Argument] = []
    for delivery, keep_ms, outcome, is_dead, _, _, callback, key in batch:
        jobs += delivery[:4]  # stream, entry, job id, number
        jobs += (keep_ms, outcome, 1 if is_dead else 0)
        if callback is not None:
            callbacks += (len(jobs) // SETTLE_VALUES, *callback[:4])
        if key is not None:
            keys += (len(jobs) // SETTLE_VALUES, key.digest)
        if delivery.permits:
            permits += (len(jobs) // SETTLE_VALUES, delivery.permits)
    arguments: list[Argument] = [GROUP, prefix, *settings, *jobs]
    if not (callbacks or keys or permits):
        return "settle", arguments
    arguments += (*callbacks, len(callbacks) // CALLBACK_VALUES)
    arguments += (*keys, len(keys) // KEY_VALUES)
    arguments += (*permits, len(permits) // PERMIT_VALUES)
    return "settle_and_continue", arguments
