"""What can be a task, what cannot, and what a task takes over from its function."""

import copy
import functools
import importlib
import inspect
import json
import math
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NewType, Optional
from unittest import mock

import pytest

from aiostreamq import Context, Queue, UsageError
from aiostreamq.client.task import AsyncTask, StreamTask, SyncTask
from aiostreamq.model.functions.signature import TaskSignature

FILE = Path(__file__).name


async def add(n: int) -> int:
    """Add one."""
    return n + 1


def add_in_thread(n: int) -> int:
    """Add one, in a thread."""
    return n + 1


class Jobs:
    """What has methods."""

    def __init__(self) -> None:
        self.n = 1

    async def method(self, n: int) -> int:
        """Add its own."""
        return n + self.n

    @classmethod
    def by_class(cls, n: int) -> int:
        """Add one."""
        return n + 1


@pytest.fixture
def queue() -> Queue:
    """A queue that is never opened."""
    return Queue("memory://")


def call_of() -> object:
    """Return a coroutine."""
    return add(1)


def letters() -> Any:
    """Be a generator."""
    yield "a"


async def letters_streamed() -> AsyncIterator[str]:
    """Be one that streams."""
    yield "a"


def made(queue: Queue, given: object, name: str | None = None) -> Any:
    """Return the task of what no type checker lets through."""
    register: Any = queue.task(name=name)
    return register(given)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: "add", r"@queue\.task\('add'\): pass the name .* write @queue\.task\(name='add'\)"),
    (lambda: 3, r"was given an object of type 'int': pass a function"),
    (call_of, r"was given a call of 'add': pass the function without calling it"),
    (letters, r"was given a call of 'letters'"),
    (letters_streamed, r"was given a call of 'letters_streamed'"),
    (lambda: letters, r"task 'letters' yields: make it an `async def`"),
    (lambda: Jobs, r"was given the class 'Jobs': pass a function"),
    (lambda: dict, r"was given the class 'dict'"),
    (lambda: vars(Jobs)["by_class"], r"was given a classmethod .* below the class"),
    (lambda: property(add_in_thread), r"was given a property"),
    (lambda: functools.partialmethod(add_in_thread, 1), r"was given a partialmethod"),
    (lambda: Jobs.method, r"task 'method' is a method of Jobs .* queue\.task\(Jobs\(\)\.method\)"),
    (lambda: lambda: None, r"was given a lambda, which has no name: .*name='\.\.\.'"),
    (lambda: functools.partial(add, 1), r"an object of type 'partial', which has no name"),
    (lambda: Queue("memory://").task(add).using(timeout=5), r"an object of type 'Enqueuer'"),
    (lambda: Queue("memory://").task(add).bind(1), r"an object of type 'Call'"),
    (lambda: vars, r"task 'vars': Python does not know its parameters"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_what_cannot_be_a_task(queue: Queue, given: Callable[[], object], told: str) -> None:
    """It is refused with what it is and what to do."""
    with pytest.raises(UsageError, match=told):
        made(queue, given())
    assert not queue.tasks


def test_method_in_its_class(queue: Queue) -> None:
    """It has no object to be called on; one that needs none is a task."""
    refused: list[UsageError] = []

    def task(function: Any) -> None:
        try:
            queue.task(function)
        except UsageError as error:
            refused.append(error)

    class Bad:
        @task
        async def method(self, n: int) -> int:
            return n

        @task
        @classmethod
        async def by_class(cls, n: int) -> int:
            return n

    assert ["is a method of Bad" in str(refused[0]), "classmethod" in str(refused[1])] == [True] * 2
    assert Bad.method is None

    class Good:
        @queue.task
        async def alone() -> int:
            return 1

        @queue.task
        @staticmethod
        async def static(n: int) -> int:
            return n

    assert {*queue.tasks} == {"alone", "static"}
    assert Good.static is queue.tasks["static"]


def with_attributes() -> Any:
    """Return a function that decorators have given attributes, some of them called as ours."""

    async def function(n: int) -> int:
        """Do it."""
        return n

    told: Any = function
    taken = ("spec", "_submitter", "_using", "_function", "enqueue", "using", "bind", "name")
    for name in (*taken, "origin", "own"):
        setattr(told, name, "theirs")
    return told


def test_attributes_of_the_function(queue: Queue) -> None:
    """Those of the task stay its own; the others can be read."""
    plain, task = made(queue, add, "plain"), made(queue, with_attributes())
    assert vars(task).keys() == vars(plain).keys()
    assert "theirs" not in vars(task).values()
    assert task.own == "theirs"
    assert task.__wrapped__.spec == "theirs"
    assert (task.name, task.__name__, task.__doc__) == ("function", "function", "Do it.")
    assert task.__module__ == __name__
    assert inspect.signature(task) == inspect.signature(with_attributes())
    with pytest.raises(AttributeError, match=r"'AsyncTask' object has no attribute 'enqeue'"):
        _ = task.enqeue
    assert copy.copy(task).spec is task.spec
    empty: Any = AsyncTask
    assert not hasattr(empty.__new__(empty), "own")


def test_task_of_another_queue(queue: Queue) -> None:
    """Its function becomes a task of this one; both stay what they are."""
    others = Queue("memory://", name="other")

    def documented(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return wrapper

    theirs = others.task(add)
    ours, again = made(queue, theirs), made(queue, theirs, "again")
    wrapped = made(queue, documented(theirs), "wrapped")
    for task in (ours, again, wrapped):
        assert queue.tasks[task.name] is task
        assert task.spec.signature is not None
        assert task.spec.is_async
        task.spec.signature.write_arguments((1,), {})
    assert theirs.spec.function is ours.spec.function is again.spec.function is add
    assert {*others.tasks} == {"add"}


CONTEXTS: dict[str, Callable[[], Any]] = {
    "optional": lambda: Optional[Context],  # noqa: UP045  # as people write it
    "or none": lambda: Context | None,
    "annotated": lambda: Annotated[Context, "told"],
    "annotated or none": lambda: Optional[Annotated[Context, "told"]],  # noqa: UP045  # as above
    "or none, annotated": lambda: Annotated[Context | None, "told"],
    "new type": lambda: NewType("Ctx", Context),
}

# In place of a Context: it is only handed on.
CONTEXT = "context"

Derived = type("Derived", (Context,), {})

NO_CONTEXTS: dict[str, Callable[[], Any]] = {
    "derived": lambda: Derived,
    "a list": lambda: list[Context],
    "the class": lambda: type[Context],
    "or something else": lambda: Context | int,
    "derived or none": lambda: Derived | None,
}


def taking(annotation: Any, kind: str) -> Any:
    """Return a function with a parameter that is annotated so, in a place of a kind."""
    parameters = {
        "first": "ctx, n: int",
        "last": "n: int, ctx",
        "with a default": "n: int, ctx = None",
        "by name": "n: int, *, ctx = None",
        "by place": "ctx, n: int, /",
    }[kind]
    space: dict[str, Any] = {}
    exec(f"async def f({parameters}) -> int: return ctx", space)
    space["f"].__annotations__["ctx"] = annotation
    return space["f"]


PLACES = ["first", "last", "with a default", "by name", "by place"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("annotation", CONTEXTS.values(), ids=list(CONTEXTS))
def test_context(queue: Queue, annotation: Callable[[], Any], place: str) -> None:
    """However it is written, and wherever, the worker fills it in."""
    signature: TaskSignature = made(queue, taking(annotation(), place)).spec.signature
    assert signature.context_name == "ctx"
    args, kwargs, _ = signature.write_arguments((1,), {})
    args, kwargs = signature.with_context(args, kwargs, CONTEXT)
    assert sorted([*args, *kwargs.values()], key=str) == [1, CONTEXT]
    with pytest.raises(UsageError, match="invalid call of task"):
        signature.write_arguments((1,), {"ctx": 2})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("annotation", NO_CONTEXTS.values(), ids=list(NO_CONTEXTS))
def test_no_context(queue: Queue, annotation: Callable[[], Any], place: str) -> None:
    """What a worker cannot fill in is refused, with the parameter and what to write."""
    with pytest.raises(UsageError, match=r"parameter 'ctx' is annotated .* annotate one .*Context"):
        made(queue, taking(annotation(), place))
    assert not queue.tasks


def test_several_contexts(queue: Queue) -> None:
    """One is enough; any number of them is none."""

    async def two(a: Context, n: int, b: Context | None = None) -> None: ...

    async def rest(*contexts: Context) -> None: ...

    async def named(**contexts: Context) -> None: ...

    with pytest.raises(UsageError, match="parameters 'a' and 'b' are both annotated Context"):
        queue.task(two)
    with pytest.raises(UsageError, match=r"parameter '\*contexts' is annotated Context"):
        queue.task(rest)
    with pytest.raises(UsageError, match=r"parameter '\*\*contexts' is annotated Context"):
        queue.task(named)


def run_cell(source: str, name: str, filename: str) -> Any:
    """Run source as a part of a program, and return the function `f` of it."""
    program = ModuleType(name)
    exec(compile(source, filename, "exec"), vars(program))
    return program.f


TIMED = """
import functools
def timed(function):
    @functools.wraps(function)
    async def wrapper(*args):
        return await function(*args)
    return wrapper
"""


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("__main__", "/tmp/ipykernel_7/1.py"),
        ("__main__", "<stdin>"),
        ("__main__", "<python-input-3>"),
        ("helper", "<string>"),
    ],
)
@pytest.mark.parametrize("decorator", ["", "@timed\n"])
def test_defined_again_at_a_prompt(queue: Queue, name: str, filename: str, decorator: str) -> None:
    """The function that was defined last is the task; its schedule is that of the last, too."""
    first = TIMED + f"{decorator}async def f(n: int) -> int: return 1"
    second = TIMED + f"{decorator}async def f(n: int, m: int = 2) -> int: return 2"
    old = queue.every("1h", args=[1])(run_cell(first, name, filename))
    new = queue.every("2h", args=[1, 2])(run_cell(second, name, filename))
    assert queue.tasks == {"f": new}
    assert new is not old
    with pytest.raises(UsageError, match="already has a schedule 'f'"):
        queue.every("3h", args=[1])(new)


def test_reloaded_module(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reloaded is what counts."""
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "reloaded_jobs.py"
    path.write_text("async def f() -> int: return 1\n")
    module = importlib.import_module("reloaded_jobs")
    try:
        queue.task(module.f)
        path.write_text("# a change\nasync def f(n: int) -> int: return n\n")
        new = made(queue, importlib.reload(module).f)
        assert queue.tasks == {"f": new}
    finally:
        del sys.modules["reloaded_jobs"]


def test_name_is_taken(queue: Queue) -> None:
    """The refusal says where both are, and nothing is changed."""
    task = queue.task(add)

    def other() -> Any:
        async def add() -> None: ...

        return add

    for function in (other(), add):
        with pytest.raises(UsageError, match=rf"defined at .*{FILE}:\d+: .*{FILE}:\d+ another"):
            queue.task(function)
    with pytest.raises(UsageError, match=r"at math\.sqrt another name"):
        queue.task(name="add")(math.sqrt)
    assert queue.tasks == {"add": task}


def test_made_twice_by_the_same_lines(queue: Queue) -> None:
    """Functions that a loop makes are two, also in the program itself."""
    loop = "def make():\n    async def f() -> None: ...\n    return f\nf = [make(), make()]"
    first, second = run_cell(loop, "__main__", "<stdin>")
    queue.task(first)
    with pytest.raises(UsageError, match="already has a task 'f'"):
        queue.task(second)


def test_refused_schedule_leaves_no_task(queue: Queue) -> None:
    """A decorator that raises has done nothing: it can be mended and run again."""
    with pytest.raises(UsageError, match="invalid call of task"):
        queue.every("1h")(add)
    assert not queue.tasks
    task = queue.every("1h", args=[1])(add)
    with pytest.raises(UsageError):
        queue.every("1h", args=[1, 2], name="other")(task)
    assert queue.tasks == {"add": task}


@pytest.mark.parametrize("words", [("retries", 3), ("max_retries", 3), ("on", ()), ("x", 1)])
def test_unknown_option(queue: Queue, words: tuple[str, object]) -> None:
    """All options are named, and how it is written here."""
    name, value = words
    options: Any = {name: value}
    with pytest.raises(UsageError, match=rf"@queue\.task has no option '{name}'.*") as caught:
        queue.task(**options)(add)
    for option in ("name", "executor", "timeout", "result_ttl", "lane", "retry", "durability"):
        assert option in str(caught.value)
    assert ("retry=Retry(" in str(caught.value)) is (name != "x")


def test_decorator_without_its_argument(queue: Queue) -> None:
    """`@queue.every` and `@queue.cron` say at once what they want."""
    every: Any = queue.every
    cron: Any = queue.cron
    with pytest.raises(UsageError, match="every="):
        every(add)
    with pytest.raises(UsageError, match="cron="):
        cron(add)


def test_kinds(queue: Queue) -> None:
    """Each function is called the way it asks for."""
    kinds: dict[str, tuple[Any, type]] = {
        "async": (add, AsyncTask),
        "def": (add_in_thread, SyncTask),
        "stream": (letters_streamed, StreamTask),
        "partial": (functools.partial(add, 1), AsyncTask),
        "bound": (Jobs().method, AsyncTask),
        "by_class": (Jobs.by_class, SyncTask),
        "builtin": (len, SyncTask),
        "method_of_a_type": (str.upper, SyncTask),
        "json": (json.dumps, SyncTask),
        "mock": (mock.Mock(), SyncTask),
        "cached": (functools.lru_cache(add_in_thread), SyncTask),
    }
    for name, (function, kind) in kinds.items():
        assert type(made(queue, function, name)) is kind, name
        assert queue.tasks[name].__wrapped__ is function
