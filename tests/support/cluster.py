"""Redis Cluster: two real nodes, and slots that move between them one step at a time."""

from __future__ import annotations

import random
import socket
import time
from typing import TYPE_CHECKING, cast

from redis import Redis
from redis.crc import key_slot

from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

SLOTS = 16384

# What is added to a node's port to get the port that the nodes talk to each other on.
BUS = 10_000


class ClusterNode(RedisServer):
    """One node of a cluster.

    Args:
        extra: More command line options.
    """

    def __init__(self, *extra: str) -> None:
        super().__init__("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", *extra)
        self.port = _free_pair_of_ports()
        self._client = Redis(port=self.port)

    @property
    def id(self) -> str:
        """What the cluster calls this node."""
        return cast("bytes", self.say("CLUSTER", "MYID")).decode()

    def say(self, *words: str | bytes | int) -> object:
        """Send one command and return the whole reply."""
        return cast("object", self._client.execute_command(*words))

    def keys_of(self, queue: str) -> list[bytes]:
        """Return the names of the keys of *queue* that this node has, in order."""
        found = self.say("CLUSTER", "GETKEYSINSLOT", slot_of(queue), 1_000_000)
        return sorted(cast("list[bytes]", found))

    def contents_of(self, queue: str) -> dict[bytes, object]:
        """Return every key of *queue* that this node has, with all that is in it."""
        keys = self.keys_of(queue)
        with self._client.pipeline(transaction=False) as commands:
            for key in keys:
                # The node that a slot moves to shows its keys only to those who say this first.
                commands.execute_command("ASKING")
                commands.execute_command("DUMP", key)
            return dict(zip(keys, commands.execute()[1::2], strict=True))

    def close(self) -> None:
        """End the node."""
        self._client.close()
        super().close()


class Cluster:
    """Two nodes. Each has half of the slots at first: one that has none left becomes a replica.

    Args:
        extra: More command line options of both.
    """

    def __init__(self, *extra: str) -> None:
        self.nodes = ClusterNode(*extra), ClusterNode(*extra)
        self._with_second = set(range(SLOTS // 2, SLOTS))

    def owner_of(self, queue: str) -> ClusterNode:
        """Return the node that has the slot of *queue*."""
        return self.nodes[slot_of(queue) in self._with_second]

    def other_than_owner_of(self, queue: str) -> ClusterNode:
        """Return the node that has not got the slot of *queue*."""
        return self.nodes[slot_of(queue) not in self._with_second]

    def begin_move(self, queue: str) -> None:
        """Begin to move the slot of *queue* to the other node. No key moves yet."""
        slot, source, target = self._move_of(queue)
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, queue: str, keys: Iterable[bytes] | None = None) -> None:
        """Move *keys* of *queue* to the other node, or all."""
        _, source, target = self._move_of(queue)
        for key in source.keys_of(queue) if keys is None else keys:
            source.say("MIGRATE", "127.0.0.1", target.port, key, 0, int(PATIENCE * 1000))

    def finish_move(self, queue: str) -> None:
        """Make the other node the owner of the slot of *queue*."""
        slot, source, target = self._move_of(queue)
        # In this order, or the slot would belong to nobody for a moment.
        for node in (target, source):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        self._with_second ^= {slot}

    def move(self, queue: str) -> None:
        """Move the slot of *queue* to the other node, with all its keys."""
        self.begin_move(queue)
        self.move_keys(queue)
        self.finish_move(queue)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not all(map(_is_ready, self.nodes)):
            assert time.monotonic() < deadline, "the nodes do not make a cluster"
            time.sleep(0.01)

    def _move_of(self, queue: str) -> tuple[int, ClusterNode, ClusterNode]:
        return slot_of(queue), self.owner_of(queue), self.other_than_owner_of(queue)

    def __enter__(self) -> Self:
        """Start both, and wait until each knows what the other has."""
        first, second = self.nodes
        for node in self.nodes:
            node.start()
        first.say("CLUSTER", "ADDSLOTS", *range(SLOTS // 2))
        second.say("CLUSTER", "ADDSLOTS", *range(SLOTS // 2, SLOTS))
        # Without an epoch of its own each, they would first have to agree who has which.
        for epoch, node in enumerate(self.nodes, start=1):
            node.say("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        second.say("CLUSTER", "MEET", "127.0.0.1", first.port)
        self._wait_until_ready()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            node.close()


def slot_of(queue: str) -> int:
    """Return the slot of all keys of *queue*."""
    return int(key_slot(queue.encode()))


def _is_ready(node: ClusterNode) -> bool:
    """Whether *node* knows the other, and who has the slots."""
    lines = cast("bytes", node.say("CLUSTER", "INFO")).split()
    return {
        b"cluster_state:ok",
        b"cluster_known_nodes:2",
        b"cluster_slots_assigned:%d" % SLOTS,
    } <= {*lines}


def _free_pair_of_ports() -> int:
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + BUS))
            except OSError:
                continue
            return port
