"""Replays: what is sent to Redis to enqueue the jobs of dead letters again."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.metadata import key_in
from aiostreamq.model.replayed_job import (
    keeps_result,
    lane_to_replay_in,
    write_history,
    write_replay,
)
from aiostreamq.model.stored import json_object
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Replayed

if TYPE_CHECKING:
    from aiostreamq.client.protocols import QueueHandle
    from aiostreamq.model.dead_letters import DeadLetter

logger = get_logger("aiostreamq.dead")


def _digest_in(envelope: bytes) -> str:
    """Return the digest of the key that the job of an envelope holds; empty if it holds none."""
    call = json_object(envelope) if b'"key":"' in envelope else None
    key = key_in(call or {})
    return "" if key is None else key.digest


class Replayer:
    """Enqueues the jobs of dead letters of one queue again."""

    def __init__(self, queue: "QueueHandle", store: DeadLetterStore) -> None:
        self._queue = queue
        self._store = store

    def replay_of(
        self,
        letter: "DeadLetter",
        args: Sequence[object] | None,
        kwargs: Mapping[str, object] | None,
        *,
        ignore_keys: bool = False,
    ) -> Replay:
        """Return the replay of a letter; None for *args* or *kwargs* keeps those of the job.

        With *ignore_keys*, or with other arguments, the job has no key.

        Raises:
            UsageError: The arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON, or the call is too long.
        """
        store, spec = self._queue.session().store, self._queue.spec_of(letter.task)
        signature = None if spec is None else spec.signature
        write = None if signature is None else signature.write_stored
        envelope = write_replay(letter, args, kwargs, write)
        digest = "" if ignore_keys else _digest_in(envelope)
        if args is not None or kwargs is not None:
            self._check(letter, envelope)
            digest = ""  # it is of the earlier arguments
        lane = lane_to_replay_in(letter, store.lanes, spec and spec.options.lane)
        keeps = keeps_result(letter, spec and spec.options.result_ttl)
        return Replay(
            letter.id,
            letter.job_id,
            store.place_of(lane),
            WaiterMode.NOBODY if keeps else WaiterMode.NO_RESULT,
            envelope,
            write_history(letter),
            digest,
        )

    def _check(self, letter: "DeadLetter", envelope: bytes) -> None:
        """Refuse a call with which the job could not run."""
        try:
            call = decode_envelope(envelope)
        except Malformed as error:
            raise UsageError(
                f"dead letter {letter.id} has an unreadable call ({error}): "
                f"its arguments cannot be replaced"
            ) from error
        most = self._queue.max_payload
        if len(envelope) > most:
            raise PayloadError(
                f"task {call.task!r}: a payload of {len(envelope):,} bytes is over the limit of "
                f"{most:,}: send a reference to the data, or raise Queue(max_payload=)"
            )

    async def send(self, replays: Sequence[Replay]) -> int:
        """Enqueue the jobs of *replays*; return how many were enqueued.

        Raises:
            BrokerError: Redis refused.
        """
        answers = await self._store.replay(replays)
        for replay, answer in zip(replays, answers, strict=True):
            if answer is Replayed.REFUSED:
                logger.warning(
                    "dead letter %s is kept: its job's id belongs to another job by now",
                    replay.letter,
                    extra={"job_id": replay.job_id},
                )
            elif answer is Replayed.KEY_TAKEN:
                logger.warning(
                    "dead letter %s is kept: another job that has not ended holds the key of its "
                    "job; replay it later, or with ignore_keys=True (--ignore-keys)",
                    replay.letter,
                    extra={"job_id": replay.job_id},
                )
        return answers.count(Replayed.DONE)
