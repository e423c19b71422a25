"""A cluster moves the queue's slot: every script runs whole, or is refused before it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from aiostreamq.errors import QueueUnavailable
from aiostreamq.model.callbacks import Callback
from aiostreamq.model.delivery import HeldSubmission, RetryRequest, Settlement, WaiterMode
from aiostreamq.model.job_events import Emission
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import GROUP, Keys
from aiostreamq.model.outcome import encode_ended, encode_unreadable
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.connection.redis_errors import Remedy, remedy_for
from aiostreamq.store.connection.server import Server
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Span
from aiostreamq.store.held import HeldJobs, Hold, Quiet
from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.job_events import EventStreams
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.limit_overrides import LimitOverrides
from aiostreamq.store.limit_rules import LimitRules
from aiostreamq.store.locks import LockStore
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.schedules import ScheduleStore, Tick
from aiostreamq.store.scripts import SCRIPTS, Script
from aiostreamq.store.unique import free_key
from tests.support.cluster import Cluster
from tests.support.redis_server import RedisServer
from tests.support.store import DEADLINE, ENVELOPE, HOUR_MS, Store, outcome_of

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Argument

LONG_AGO = "1000"
DEFINITION = b'{"task":"size","every":1000}'
FAILED = encode_ended("size", 1, JobState.FAILED)

Act = Callable[[], Awaitable[object]]


class Call(NamedTuple):
    """One call of a script."""

    keys: Sequence[str]
    arguments: Sequence[Argument]


class Recorded(Exception):  # no error: it ends an act before the script is called
    """A call has been noted, and was not sent."""


async def fill(store: Store) -> list[Act]:
    """Put jobs of every kind into a queue; returns a step for each script, in their order."""
    broker, roster, schedule = store.queue, store.workers, store.delayed
    cancellation, pauses = Cancellation(broker), PauseStore(broker)
    all_in_lane = LaneFilter(["queued", "running"], None, None)
    timetable, graveyard = ScheduleStore(broker), DeadLetterStore(broker)
    limited, lost = HeldJobs(broker), [broker.keys.ready, broker.keys.due, broker.keys.held]
    held = HeldSubmission("new", 2, WaiterMode.CALLER, "default t c=l", "", ENVELOPE)
    await limited.enqueue([held._replace(job_id="limited")], "me", DEADLINE)
    await roster.join("w1", 1_000, ["default"])
    await roster.join("w2", 1_000, ["default"])
    await store.enqueue("a", "b", "dead", "parked", mark=WaiterMode.CALLER)
    a, b, dead, parked = await store.read()
    await store.deliveries.settle([Settlement(dead, HOUR_MS, FAILED, is_dead=True)], "w1")
    await store.parking.park([(parked, "t")])
    await store.enqueue("waits", mark=WaiterMode.CALLER)
    await store.enqueue_unique("held", "holder")
    await schedule.delay([("late", "slow", WaiterMode.CALLER, LONG_AGO, ENVELOPE)], "me", DEADLINE)
    await cancellation.cancel(["b"])
    await pauses.pause(["task:size"], "1")
    await timetable.put("s", DEFINITION, 5000, DEADLINE, replace=False)
    (due,) = (await timetable.due([])).due
    (letter,) = [one async for page in graveyard.oldest_first(Span()) for one in page]
    revival = Replay(letter.id, letter.job_id, 2, WaiterMode.NOBODY, letter.envelope, b"[]")
    tick = Tick(
        "s", due.rev, due.at, due.held, 6000, 5000, "s-5000",
        "default", "0", 0, "allow", 0, ENVELOPE,
    )  # fmt: skip
    new = ("new", "slow", WaiterMode.CALLER, "+60000", ENVELOPE)
    counted = Settlement(a, HOUR_MS, outcome_of(a), kind="size|done|1")
    callback = Callback("success", "slow", WaiterMode.NOBODY, "{}")
    locks = LockStore(broker)
    await locks.take("held", "me.2", HOUR_MS, "me", 0)
    await locks.take("held", "me.3", HOUR_MS, "me", 0)
    weights = {"default": 2, "slow": 1}
    lanes = [*broker.streams[:3], store.keys.cancelled, store.keys.paused]
    skipped = [store.keys.cancelled, *broker.streams]
    entries = [(a.stream, a.entry), (b.stream, b.entry)]
    return [
        lambda: broker.run("create_groups", broker.streams, ["another group"]),
        lambda: store.enqueue("new", mark=WaiterMode.CALLER),
        lambda: store.enqueue_unique("key", "new", mark=WaiterMode.CALLER),
        lambda: free_key(broker, "held", "holder"),
        lambda: store.results.subscribe("me", ["a", "waits"]),
        lambda: store.results.ping("me", "word"),
        lambda: store.settle(a, b),
        lambda: store.deliveries.settle([counted._replace(callback=callback)], "w1"),
        lambda: store.deliveries.record_stats([counted], "w1", 1),
        lambda: store.deliveries.requeue([a, b]),
        lambda: store.deliveries.dead_letter_unreadable(entries, encode_unreadable("no"), "w1"),
        lambda: store.results.job_state("a"),
        lambda: roster.deregister("w2"),
        lambda: roster.renew("w1", 1_000, b"{}"),
        lambda: roster.find_dead("w2", 1_000),
        lambda: roster.register_strays(1_000),
        lambda: roster.holders("w2", ["default"]),
        lambda: roster.recover("w1", "0 1000 default", 3),
        lambda: LaneReader(broker, weights, strict=False).read(store.link, "w1", 9, None),
        lambda: broker.run("read_many_lanes", lanes, [GROUP, "w1", 9, 0, "2 1", ""]),
        lambda: broker.run("skip_cancelled", skipped, [GROUP, "w1", store.keys.prefix, 9]),
        lambda: roster.note_suspect_run(a),
        lambda: schedule.delay([new], "me", DEADLINE),
        schedule.promote,
        lambda: schedule.retry([RetryRequest(a, 0), RetryRequest(b, 0)]),
        lambda: store.deliveries.requeue_deleted([RetryRequest(a, 0)]),
        lambda: store.parking.park([(a, "t"), (b, "t")]),
        lambda: store.parking.unpark(["t"]),
        lambda: broker.run("replication_marker", [store.keys.confirm], [HOUR_MS]),
        lambda: graveyard.replay([revival]),
        lambda: graveyard.purge([letter.id]),
        lambda: EventStreams(broker).emit([Emission(a, 1, 0, HOUR_MS, "size", b"[[1]]")]),
        lambda: cancellation.cancel(["a", "waits", "late", "parked"]),
        lambda: cancellation.cancel_part(broker.streams[1], "-", "+", all_in_lane),
        lambda: timetable.put("new", DEFINITION, 5000, DEADLINE, replace=False),
        lambda: timetable.declare([("code", DEFINITION, 5000)]),
        lambda: timetable.due([]),
        lambda: timetable.fire([tick]),
        lambda: timetable.pause("s", DEADLINE),
        lambda: timetable.remove("s", DEADLINE),
        lambda: pauses.pause(["lane:slow"], "0"),
        lambda: pauses.resume(["task:size"]),
        pauses.paused,
        Snapshots(broker).view,
        lambda: limited.enqueue([held], "me", DEADLINE),
        lambda: limited.hold([Hold(a, "default t c=l", "")]),
        lambda: limited.quiet([Quiet("r=l", 9_999_999_999_999, 1000, "a")]),
        lambda: limited.charge(a, "r=l", 1),
        lambda: limited.admit(store.link, "w1", 9, b"", ["default"], ["t"]),
        lambda: broker.run("find_lost_backlogs", lost, [broker.keys.prefix, 0, "default t c=l"]),
        lambda: LimitRules(broker).declare({"c=l": "1"}),
        lambda: LimitOverrides(broker).set("c=l", "2", "me"),
        lambda: LimitOverrides(broker).end_quiet("r=l"),
        lambda: LimitStates(broker).list(),
        lambda: LimitStates(broker).explain("default t c=l"),
        lambda: LimitStates(broker).check(["c=l"]),
        lambda: locks.take("free", "me.1", HOUR_MS, "me", 0),
        lambda: locks.renew("held", "me.2", HOUR_MS),
        lambda: locks.release("held", "me.2"),
    ]


async def record(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, Call]:
    """Return a call of each script that would do something, as the queue stands."""
    acts = await fill(store)
    calls: dict[str, Call] = {}

    async def run(
        script: str, keys: Sequence[str], arguments: Sequence[Argument], *_: object
    ) -> None:
        calls[script] = Call(keys, arguments)
        raise Recorded

    async def run_on(_: object, *call: object) -> None:
        await run(*call)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patched:
        patched.setattr(store.queue, "run", run)
        patched.setattr(store.queue, "run_on", run_on)
        for act in acts:
            with pytest.raises(Recorded):
                await act()
    assert calls.keys() == set(SCRIPTS)
    return calls


#: Which keys have moved, by stages of the move. What a script is called with is looked at before
#: it begins, so the worst is if all those are on one side, and the others are not.
STAGES: dict[str, Callable[[Sequence[bytes], set[bytes]], Iterable[bytes]]] = {
    "no key moved": lambda _, __: (),
    "half of the keys moved": lambda keys, _: keys[::2],
    "the other half moved": lambda keys, _: keys[1::2],
    "all that are named moved": lambda keys, named: [key for key in keys if key in named],
    "all others moved": lambda keys, named: [key for key in keys if key not in named],
    "all keys moved": lambda keys, _: keys,
}

NAMES = (f"moving{number}" for number in count())


@pytest.fixture
def name() -> str:
    """What the queue is called: each test has a slot of its own."""
    return next(NAMES)


@pytest.fixture
async def store(cluster: Cluster, name: str) -> AsyncIterator[Store]:
    """A queue on a cluster."""
    async with Store(cluster.owner_of(name).url, name) as store:
        yield store


@pytest.fixture
async def calls(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, Call]:
    """A call of each script."""
    return await record(store, monkeypatch)


def begin(cluster: Cluster, name: str, calls: dict[str, Call], stage: str) -> None:
    """Move the queue up to a stage."""
    named = {key.encode() for call in calls.values() for key in call.keys}
    keys = cluster.owner_of(name).keys_of(name)
    assert keys
    cluster.begin_move(name)
    cluster.move_keys(name, STAGES[stage](keys, named))


def contents(cluster: Cluster, name: str) -> list[dict[bytes, object]]:
    """Return what both nodes have of the queue."""
    return [node.contents_of(name) for node in cluster.nodes]


@pytest.mark.parametrize("stage", STAGES)
async def test_nothing_is_written(
    cluster: Cluster, name: str, store: Store, calls: dict[str, Call], stage: str
) -> None:
    """While the slot moves, either node refuses every script, before it has written anything."""
    server = await store.queue.open()
    source = store.link
    target = await Store(cluster.other_than_owner_of(name).url).connector.open_link("test")
    begin(cluster, name, calls, stage)
    before = contents(cluster, name)
    for script_name, (keys, arguments) in calls.items():
        script = Script(script_name, server)
        for link, is_asking in ((source, False), (source, True), (target, False), (target, True)):
            await script.load(link)
            if is_asking:
                link.call("ASKING")
            with pytest.raises(CommandError) as refused:
                await script.call(link, keys, arguments)
            assert remedy_for(refused.value) is Remedy.AGAIN, refused.value
        assert contents(cluster, name) == before, script_name
    target.close()


async def test_moved(cluster: Cluster, name: str, store: Store, calls: dict[str, Call]) -> None:
    """Once the move is done, the same calls do what they should, wherever the client was."""
    before = cluster.owner_of(name)
    cluster.move(name)
    for script, (keys, arguments) in calls.items():
        await store.queue.run(script, keys, arguments, DEADLINE)
    assert cluster.owner_of(name) is not before
    assert store.queue.connection_count == 2


@pytest.mark.parametrize("is_on_cluster", [False, True])
async def test_what_it_is_for(
    cluster: Cluster, name: str, store: Store, calls: dict[str, Call], is_on_cluster: bool
) -> None:
    """Without the guard a job that ends beside a cancelled one is acknowledged, and no more."""
    server = replace(await store.queue.open(), is_cluster=is_on_cluster)
    begin(cluster, name, calls, "all others moved")
    before = contents(cluster, name)
    with pytest.raises(CommandError, match="non local key"):
        await Script("settle", server).run(store.link, *calls["settle"])
    assert (contents(cluster, name) == before) is is_on_cluster


async def test_socket_file(cluster: Cluster, name: str) -> None:
    """It leads to one node. If another has the queue, that is said."""
    line = ReconnectingLink(connector_for(cluster.other_than_owner_of(name).unix_url), "test")
    with pytest.raises(QueueUnavailable, match=r"has this queue on another node \(MOVED"):
        await line.persist(lambda link: link.call("EXISTS", Keys(name).delayed), deadline=0.3)
    line.close()


async def test_cluster_is_assumed_if_info_is_forbidden(own_redis_server: RedisServer) -> None:
    """Where INFO is forbidden, a cluster is reckoned with."""
    own_redis_server.ask("ACL", "SETUSER", "some", "on", ">pw", "~*", "&*", "+@all", "-info")
    url = own_redis_server.url.replace("redis://", "redis://some:pw@")
    async with Store(url) as store:
        server = await store.queue.open()
        assert server.is_cluster
        delivery = await store.deliver("a")
        assert await store.settle(delivery) == []


def test_only_on_a_cluster() -> None:
    """Elsewhere the scripts are what they are, and ask for nothing more."""
    server = Server((7, 0), "Redis 7.0")
    on_cluster = replace(server, is_cluster=True)
    for script in SCRIPTS:
        source = Script(script, server).source
        head, flags, code = source.rpartition("#!lua flags=allow-oom\n")
        assert head == ""
        assert "guard:" not in code
        guard = Script(script, on_cluster).source.removeprefix(flags).removesuffix(code)
        assert guard.startswith("-- slot_migration_guard.lua")
        assert "redis.call('EXISTS'" in guard
