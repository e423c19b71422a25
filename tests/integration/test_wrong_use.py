"""What cannot be meant is refused where it is said, and leaves nothing behind."""

import datetime as dt
import decimal
import gc
import math
import re
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import fakeredis
import pydantic
import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from tests.support.redis_server import RedisServer


class Scene:
    """An open queue with tasks, and another one."""

    def __init__(self, queue: Queue) -> None:
        # Whatever is said here no type checker would let pass.
        self.queue: Any = queue
        self.task: Any = queue.task(add)
        self.stranger: Any = Queue("memory://", name="other").task(add)


async def add(a: int = 0, b: int = 0) -> int:
    """Be a task."""
    return a + b


def plain() -> None:
    """Be no task."""


async def chunks_of(*given: object) -> AsyncIterator[object]:
    """Give things one after the other."""
    for one in given:
        yield one


ANY_QUEUE: Any = Queue
ANY_WORKER: Any = Worker

#: What a queue may be asked to connect to, and what the error says to write.
PLACES: dict[str, tuple[Callable[[], object], str]] = {
    "blocking client": (redis.Redis, r"redis\.asyncio\.Redis"),
    "blocking pool": (redis.ConnectionPool, r"redis\.asyncio\.ConnectionPool"),
    "blocking sentinel": (lambda: redis.Sentinel([("h", 1)]), "master_for"),
    "sentinel": (lambda: redis.asyncio.Sentinel([("h", 1)]), "master_for"),
    "cluster": (lambda: redis.asyncio.cluster.RedisCluster("h"), "Redis Cluster is not supported"),
    "class": (lambda: redis.asyncio.Redis, r"Redis\(\.\.\.\)"),
    "pubsub": (lambda: redis.asyncio.Redis().pubsub(), "PubSub"),
    "fake client": (fakeredis.FakeAsyncRedis, "memory://"),
    "queue": (lambda: Queue("memory://"), "URL or a client"),
    "bytes": (lambda: b"redis://h", r"url\.decode\(\)"),
    "Path": (lambda: Path("/run/redis.sock"), "unix://"),
    "dict": (lambda: {"host": "h"}, r"redis\.asyncio\.Redis\(\*\*options\)"),
    "int": (lambda: 6379, "type int"),
    "list": (lambda: ["redis://h"], "type list"),
    "function": (lambda: plain, "type function"),
    "SecretStr": (lambda: pydantic.SecretStr("redis://h"), "get_secret_value"),
    "pydantic URL": (lambda: pydantic.HttpUrl("http://h"), "redis://host:6379/0"),
}
URLS = {
    "": "redis://host:6379/0",
    "localhost": "redis://host:6379/0",
    "localhost:6379": "redis://host:6379/0",
    "http://h": "redis://host:6379/0",
    "redis://h:port/0": "host or port",
    "redis://h:99999/0": "host or port",
    "redis://[::1/0": "host or port",
    "redis://h/name": "number of a database",
    "redis://h?ssl=true": "'ssl': write rediss://",
    "redis://h?ssl_cert_reqs=none": "'ssl_cert_reqs': write rediss://",
    "rediss://h?ssl_cert_req=none": "did you mean 'ssl_cert_reqs'",
    "redis://h?sokcet_timeout=1": "did you mean 'socket_timeout'",
    "redis://h?nonsense=1": "'nonsense': leave it out",
    "redis://h?db=x": "invalid value",
    "redis://h?socket_timeout=soon": "invalid value",
    "rediss://h?ssl_cert_reqs=banana": "invalid value",
}

#: Characters: what was given may be longer.
LONGEST_ERROR = 600

NO_NAMES = [None, 5, b"n", "", "a b", ["n"], "n" * 129, uuid.UUID(int=1)]
NO_WORDS: list[object] = [5, [], "no", None]
NO_COUNTS = ["10", 1.5, 0, -1, True, "1kb", math.nan, math.inf, [1]]
NO_DURATIONS: list[object] = [
    *(
        -1,
        "soon",
        "10",
        "-5s",
        math.nan,
        math.inf,
        1e308,
        10**5000,
        "9" * 400 + "s",
        True,
        [],
        b"1s",
    ),
    *(dt.timedelta(-1), dt.timedelta.max, decimal.Decimal(1), object()),
]
NO_LANES: list[tuple[object, str]] = [
    ("default", r"write lanes=\['default'\]"),
    (b"low", r"write lanes=\['low'\]"),
    (5, "not a list of names"),
    (None, "not a list of names"),
    (object(), "not a list of names"),
    ([], "at least one"),
    ({}, "at least one"),
    (["low", 1], "lane name 1 "),
    ([["low"]], "lane name"),
    ([None], "lane name None"),
    ({1: 1}, "lane name 1 "),
    ({"low": "1"}, "weight '1'"),
    ({"low": True}, "weight True"),
    ({"low": -1}, "weight -1"),
    ({"low": math.nan}, "weight nan"),
]
NO_STATES: list[object] = ["x", 5, ["x"], [5], [None], b"queued", [[]], object(), "QUEUED"]

Case = tuple[str, Callable[[Scene], object], str]


def _on_places() -> list[Case]:
    return [
        *((f"place {n}", lambda _, m=make: ANY_QUEUE(m()), p) for n, (make, p) in PLACES.items()),
        *((f"url {url}", lambda _, u=url: opened(u), p) for url, p in URLS.items()),
    ]


async def opened(url: str) -> None:
    """Open a queue, and leave it open."""
    await Queue(url, enqueue_timeout=1).open()


def _queue(option: str, value: object) -> Case:
    return f"Queue {option}={value!r}", lambda _: ANY_QUEUE(**{option: value}), option


def _worker(option: str, value: object) -> Case:
    return f"Worker {option}={value!r}", lambda s: ANY_WORKER(s.queue, **{option: value}), option


def _lanes(lanes: object, pattern: str) -> Case:
    return f"lanes={lanes!r}", lambda _: ANY_QUEUE(lanes=lanes), pattern


def _on_construction() -> list[Case]:
    of_workers = ("concurrency", "threads", "processes", "max_worker_deaths")
    of_queues = ("max_payload", "max_length")
    words = ("when_full", "durability", "strict_priority")
    return [
        *(_lanes(lanes, pattern) for lanes, pattern in NO_LANES),
        ("served", lambda s: ANY_WORKER(s.queue, lanes="default"), r"lanes=\['default'\]"),
        *(_worker(option, count) for option in of_workers for count in NO_COUNTS),
        *(_queue(option, count) for option in of_queues for count in NO_COUNTS),
        *(_queue(option, word) for option in words for word in NO_WORDS),
        ("Worker(url)", lambda _: ANY_WORKER("redis://:hunter2@h"), r"Worker\(Queue\(url\)\)"),
        ("Worker(None)", lambda _: ANY_WORKER(None), "NoneType"),
        ("Worker(Queue)", lambda _: ANY_WORKER(Queue), "class Queue"),
        ("Worker(task)", lambda s: ANY_WORKER(s.task), "AsyncTask"),
    ]


def _with(what: str, value: object, use: Callable[[Scene, Any], object], pattern: str) -> Case:
    return f"{what} {_shown(value)}", lambda scene: use(scene, value), pattern


def _shown(value: object) -> str:
    # An int may have more digits than Python writes.
    return type(value).__name__ if isinstance(value, int) else f"{value!r}"[:30]


def _on_names() -> list[Case]:
    given = [name for name in NO_NAMES if name is not None]
    no_strings = [name for name in given if not isinstance(name, str)]
    return [
        *(_with("name", n, lambda _, n: ANY_QUEUE(name=n), "queue name") for n in NO_NAMES),
        *(_with("named", n, lambda s, n: s.queue.named(n), "task name") for n in NO_NAMES),
        *(_with("enqueue", n, lambda s, n: s.queue.enqueue(n), "task") for n in NO_NAMES),
        *(_with("lane", n, lambda s, n: s.task.using(lane=n), "lane name") for n in given),
        *(_with("pause", n, lambda s, n: s.queue.pause(lane=n), "lane") for n in given),
        *(
            _with("id", n, lambda s, n: s.task.using(id=n), r"job id.*str\(id\)")
            for n in no_strings
        ),
        *(_with("job", n, lambda s, n: s.queue.job(n), "job id") for n in no_strings),
        *(
            _with("dead", n, lambda s, n: s.queue.dead_letters.show(n), "not the id of a")
            for n in no_strings
        ),
    ]


Words = dict[str, Any]


def _time(option: str, use: Callable[[Scene, Words], object]) -> list[Case]:
    """Return cases of an option that is a length of time, or a moment."""

    def said(value: object) -> Case:
        named = f"{option}={_shown(value)}"
        return named, lambda scene: use(scene, {option: value}), f"^{option}="

    return [said(value) for value in NO_DURATIONS]


def _on_times() -> list[Case]:
    of_jobs = ("timeout", "result_ttl", "delay", "at", "expires", "deadline")
    of_workers = ("lease", "loop_block_warning", "shutdown_timeout")
    found = [_time(option, lambda s, words: s.task.using(**words)) for option in of_jobs]
    found += [_time(option, lambda s, words: ANY_WORKER(s.queue, **words)) for option in of_workers]
    found += [
        _time("enqueue_timeout", lambda _, words: ANY_QUEUE(**words)),
        _time("until", lambda s, words: s.queue.pause(task="add", **words)),
        _time("window", lambda s, words: s.queue.info(**words)),
        _time("since", lambda s, words: anext(s.queue.jobs(**words))),
        _time("older_than", lambda s, words: s.queue.cancel_many(**words)),
        _time("older_than", lambda s, words: s.queue.dead_letters.list(**words)),
        _time("every", lambda s, words: s.queue.schedules.create("n", s.task, **words)),
    ]
    return [case for cases in found for case in cases]


#: Options that there are not, and what is meant.
NO_OPTIONS = {
    "dely": "delay",
    "timout": "timeout",
    "expire": "expires",
    "job_id": "id",
    "countdown": "delay",
    "eta": "at",
    "priority": "lane",
    "max_retries": "retry",
}
OF_JOBS = "id, delay, at, expires, deadline, timeout, result_ttl, lane, retry, durability"


def _unknown(word: str, meant: str) -> Case:
    pattern = f"write {meant}=.*Its options are {OF_JOBS}"
    return f"using({word}=)", lambda s: s.task.using(**{word: 5}), pattern


def _on_options() -> list[Case]:
    of_tasks = "write timeout=.*name, executor, timeout"
    open_states = "queued, running$"
    return [
        *(_unknown(word, meant) for word, meant in NO_OPTIONS.items()),
        ("using(x=)", lambda s: s.task.using(x=5), rf"no option 'x'\. Its options are {OF_JOBS}"),
        ("task(timout=)", lambda s: s.queue.task(timout=5)(plain), of_tasks),
        ("events", lambda s: anext(s.queue.job("a").events(after=5)), "is not an event id"),
        *(
            _with("cancel", state, lambda s, x: s.queue.cancel_many(state=x), open_states)
            for state in NO_STATES
        ),
        *(
            _with("jobs", state, lambda s, x: anext(s.queue.jobs(state=x)), "queued, running")
            for state in NO_STATES
        ),
        ("cancel done", lambda s: s.queue.cancel_many(state="done"), "have not ended"),
    ]


def _on_calls() -> list[Case]:
    def many(name: str, given: Callable[[Scene], object], pattern: str) -> Case:
        return f"many {name}", lambda s: s.queue.enqueue_many(given(s)), pattern

    def one(name: str, given: Callable[[Scene], object], pattern: str) -> Case:
        return f"enqueue {name}", lambda s: s.queue.enqueue(given(s)), pattern

    bind = r"use task\.bind\(\.\.\.\) instead of task\.enqueue"
    return [
        many("a coroutine", lambda s: [s.task.enqueue(1)], bind),
        many("coroutines", lambda s: [s.task.enqueue(n) for n in range(1100)], bind),
        many("after calls", lambda s: [s.stranger.bind(), s.task.enqueue(1)], "another queue"),
        many("generated", lambda s: (s.task.enqueue(n) for n in range(3)), bind),
        many("one coroutine", lambda s: s.task.enqueue(1), bind),
        many("async", lambda s: chunks_of(s.task.enqueue(1)), bind),
        many("async wrong", lambda _: chunks_of(5), "type int"),
        many("one call", lambda s: s.task.bind(1), "put it in a list"),
        many("a dict", lambda s: {"a": s.task.bind(1)}, r"calls\.values\(\)"),
        many("an empty dict", lambda _: {}, r"calls\.values\(\)"),
        many("a str", lambda _: "add", "type str"),
        many("bytes", lambda _: b"add", "type bytes"),
        many("None", lambda _: None, "type NoneType"),
        many("Nones", lambda _: [None], "type NoneType"),
        many("tasks", lambda s: [s.task], r"use task\.bind"),
        many("a task", lambda s: s.task, r"use task\.bind"),
        many("tuples", lambda s: [(s.task, 1)], "type tuple"),
        many("a function", lambda _: [plain], "type function"),
        many("a job", lambda s: [s.queue.job("a")], "type Job"),
        many("strangers", lambda s: [s.stranger.bind(1)], "belongs to another queue"),
        one("a function", lambda _: plain, "function 'plain' is not a task"),
        one("a call", lambda s: s.task.bind("hunter2"), "call of task 'add'.*enqueue_many"),
        one("a coroutine", lambda s: s.task.enqueue(1), "coroutine.*give the task itself"),
        one("a run", lambda s: s.task(1), "coroutine.*give the task itself"),
        one("a job", lambda s: s.queue.job("a"), "this Job is not a task"),
        one("a class", lambda _: int, "this int is not a task"),
        one("a stranger", lambda s: s.stranger, "belongs to another queue"),
    ]


@pytest.fixture
async def scene(store_url: str) -> AsyncIterator[Scene]:
    """An open queue, on a real Redis and in memory."""
    async with Queue(store_url, name="used") as queue:
        yield Scene(queue)


async def left_behind(queue: Queue) -> set[object]:
    """Return what there is in the store: keys, and connections that are open."""
    call = core_of(queue).session().store.call
    keys = cast("list[bytes]", await call("KEYS", "*"))
    if core_of(queue).session().store.connector.is_in_memory:
        return set(keys)
    clients = cast("bytes", await call("CLIENT", "LIST"))
    return {*keys, *(line.split()[0] for line in clients.splitlines())}


async def judged(scene: Scene, case: Case) -> str | None:
    """Say wrongly what *case* has; return what is wrong with the answer."""
    name, use, pattern = case
    before = await left_behind(scene.queue)
    try:
        done = use(scene)
        if isinstance(done, Awaitable):
            done = await cast("Awaitable[object]", done)
    except UsageError as error:
        told = str(error)
        is_good = re.search(pattern, told) and "hunter2" not in told and len(told) < LONGEST_ERROR
        if is_good and await left_behind(scene.queue) == before:
            return None
        return f"{name}: {told}"
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the wrong one
        return f"{name}: {error!r}"
    return f"{name}: gave {done!r}"


@pytest.mark.parametrize(
    "cases",
    [_on_places, _on_construction, _on_names, _on_times, _on_options, _on_calls],
    ids=lambda cases: cases.__name__,
)
async def test_wrong_use_raises_usage_error(scene: Scene, cases: Callable[[], list[Case]]) -> None:
    """With UsageError, which says what is wrong and what to write."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        judgements = [await judged(scene, case) for case in cases()]
        gc.collect()  # what was never awaited is told when it is thrown away
    wrong = [judgement for judgement in judgements if judgement]
    assert not wrong, "\n".join(wrong)
    assert not [str(one.message) for one in warned if "never awaited" in str(one.message)]


ANY_REDIS: Any = redis.asyncio

#: What else a queue takes, made of a URL.
TAKEN: dict[str, Callable[[str], Any]] = {
    "RedisDsn": pydantic.RedisDsn,
    "AnyUrl": pydantic.AnyUrl,
    "client": ANY_REDIS.Redis.from_url,
    "pool": ANY_REDIS.ConnectionPool.from_url,
    "blocking pool": ANY_REDIS.BlockingConnectionPool.from_url,
    "options": lambda url: f"{url}?socket_timeout=3&client_name=x&protocol=3&retry=1",
}


@pytest.mark.parametrize("kind", TAKEN)
async def test_what_else_is_taken(redis_server: RedisServer, kind: str) -> None:
    """URLs of pydantic, clients and pools; what is theirs stays open and usable."""
    where = TAKEN[kind](redis_server.url)
    async with Queue(where, name="elsewhere") as queue:
        assert (await queue.enqueue("add")).is_new
        assert (
            await core_of(queue).session().store.call("CLIENT", "GETNAME") == b"aiostreamq:commands"
        )
    if isinstance(where, redis.asyncio.Redis):
        assert await where.ping()
        await where.aclose()
