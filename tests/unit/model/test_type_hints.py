"""When the names in annotations are looked up, and what is said of those that are not there.

Each source is a module of its own, as it matters what it has defined when the task is registered.
"""

import importlib.util
import linecache
import sys
from datetime import date
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from aiostreamq import Queue, UsageError
from aiostreamq.model.functions.signature import TaskSignature

HEAD = """
    from __future__ import annotations
    from dataclasses import dataclass
    from datetime import date
    from typing import TYPE_CHECKING, Annotated, Optional
    import typing as t
    from aiostreamq import Queue

    queue = Queue("memory://")
"""

WORKS = {
    "as they are": """
        @queue.task
        async def f(day: date, *rest: date) -> date: ...
    """,
    "further down": """
        @queue.task
        async def f(day: Day, *rest: "list[Day]") -> Day | None: ...

        Day = date
    """,
    "further down in a branch": """
        @queue.task
        async def f(day: Day) -> None: ...

        if len(__name__):
            for _ in range(1):
                Day = date
    """,
    "further down from everything in a module": """
        @queue.task
        async def f(day: datetime) -> None: ...

        from datetime import *
    """,
    "further down, by a function": """
        @queue.task
        async def f(day: Day) -> None: ...

        def define():
            global Day
            Day = date

        define()
    """,
    "for type checkers and at run time": """
        if TYPE_CHECKING:
            from datetime import date as Day
        else:
            Day = date

        @queue.task
        async def f(day: Day) -> None: ...
    """,
    "in a function": """
        def register():
            Day = date

            @queue.task
            async def f(day: Day) -> None: ...

        register()
    """,
    "in a function that the task uses": """
        def make():
            Day = date

            async def f(day: Day) -> None: print(Day)

            return f

        queue.task(make())
    """,
    "in a function around, over what the module has of the name": """
        Day = int

        def register():
            Day = date

            def inner():
                @queue.task
                async def f(day: Day) -> None: ...

            inner()

        register()
    """,
    "in a class": """
        class Jobs:
            Day = date

            @queue.task
            @staticmethod
            async def f(day: Day) -> None: ...
    """,
    "of a bound method": """
        class Jobs:
            async def f(self, day: date) -> None: ...

        queue.task(Jobs().f)
    """,
    "of an object that is called": """
        class Jobs:
            async def __call__(self, day: date) -> None: ...

        queue.task(name="f")(Jobs())
    """,
    "of a partial": """
        import functools

        async def f(n: int, day: date) -> None: ...

        queue.task(name="f")(functools.partial(f, 1))
    """,
    "of what is wrapped": """
        import functools

        def timed(function):
            @functools.wraps(function)
            async def wrapper(*args, **kwargs):
                return await function(*args, **kwargs)
            return wrapper

        @queue.task
        @timed
        async def f(day: date) -> None: ...
    """,
    "of what is wrapped in another module": """
        import contextlib

        class Around(contextlib.AsyncContextDecorator):
            async def __aenter__(self): ...
            async def __aexit__(self, *told): ...

        @queue.task
        @Around()
        async def f(day: date) -> None: ...
    """,
}

REFUSED = {
    "argument 'day' is annotated Day: only type checkers import Day": """
        if TYPE_CHECKING:
            from datetime import date as Day

        @queue.task
        async def f(n: int, day: Day) -> None: ...
    """,
    "argument 'day' is annotated d.date: only type checkers import d": """
        if t.TYPE_CHECKING:
            import datetime as d

        @queue.task
        async def f(day: d.date) -> None: ...
    """,
    "its result is annotated list.Day.: only type checkers import Day": """
        if not TYPE_CHECKING:
            pass
        else:
            Day = date

        @queue.task
        async def f() -> list[Day]: ...
    """,
    "argument 'day' is annotated Optional.Day.: only type checkers import Day": """
        def register():
            if TYPE_CHECKING:
                from datetime import date as Day

            @queue.task
            async def f(day: Optional[Day]) -> None: ...

        register()
    """,
    "argument 'day' is annotated Dya: module .* does not define Dya": """
        @queue.task
        async def f(day: Dya) -> None: ...
    """,
    "argument 'days' is annotated list.Day.: module .* does not define Day: .* before the task": """
        def register():
            @queue.task
            async def f(*days: list[Day]) -> None: ...

            Day = date

        register()
    """,
    "argument 'day' is annotated t.Day: module 'typing' has no attribute 'Day'": """
        @queue.task
        async def f(day: t.Day) -> None: ...
    """,
    "argument 'day' is annotated date.Day: type object .* has no attribute 'Day'": """
        @queue.task
        async def f(day: date.Day) -> None: ...
    """,
    "argument 'day' is annotated Thing: only type checkers import Thing": """
        if TYPE_CHECKING:
            from aiostreamq import Thing

        @queue.task
        async def f(day: Thing) -> None: ...
    """,
    "argument 'day' is annotated Soon: only type checkers import Soon": """
        if False or 0:
            pass
        if 0:
            from datetime import date as Soon

        @queue.task
        async def f(day: Soon) -> None: ...
    """,
    "argument 'day' is annotated .*: module .* does not define own": """
        def register():
            def own():
                raise NameError("own error", name="own")

            @queue.task
            async def f(day: "own()") -> None: ...

        register()
    """,
    "argument 'day' is annotated 'the day of it': SyntaxError": """
        @queue.task
        async def f(day: "the day of it") -> None: ...
    """,
}

CONTEXTS = {
    "for type checkers only": """
        if TYPE_CHECKING:
            from aiostreamq import Context

        @queue.task
        async def f(ctx: Context, day: date) -> None: ...
    """,
    "for type checkers only, by another name": """
        if TYPE_CHECKING:
            from aiostreamq import Context as Ctx

        @queue.task
        async def f(day: date, ctx: Optional[Ctx] = None) -> None: ...
    """,
    "for type checkers only, by the module": """
        if t.TYPE_CHECKING:
            import aiostreamq as a

        @queue.task
        async def f(day: date, *, ctx: a.Context) -> None: ...
    """,
    "further down would be too late, but not for ours": """
        @queue.task
        async def f(ctx: Context | None, day: Day) -> None: ...

        Day = date

        if TYPE_CHECKING:
            from aiostreamq.client.context import Context
    """,
    "as a string in it": """
        from aiostreamq import Context

        @queue.task
        async def f(day: date, ctx: "Annotated[Context, 1]" = None) -> None: ...
    """,
}


class Modules:
    """Makes modules of sources."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._monkeypatch = monkeypatch

    def run(self, source: str, name: str = "sourced") -> ModuleType:
        """Import *source*."""
        path = self._directory / f"{name}.py"
        path.write_text(dedent(HEAD) + dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        self._monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module


def task_signature(module: ModuleType) -> TaskSignature:
    """Return the signature of the task `f` of a module."""
    queue: Queue = module.queue
    signature = queue.tasks["f"].spec.signature
    assert signature is not None
    return signature


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modules:
    """What makes modules of sources."""
    return Modules(tmp_path, monkeypatch)


@pytest.mark.parametrize("source", WORKS.values(), ids=list(WORKS))
def test_names_that_are_there(modules: Modules, source: str) -> None:
    """They are looked up where the function is defined, by its first use at the latest."""
    signature = task_signature(modules.run(source))
    args, _ = signature.restore_arguments(["2024-02-29"], {})
    assert all(isinstance(one, date) for one in args)
    assert args


@pytest.mark.parametrize(("told", "source"), REFUSED.items(), ids=list(REFUSED))
def test_names_that_will_never_be_there(modules: Modules, told: str, source: str) -> None:
    """They are refused when the task is registered, with the argument and what to do."""
    with pytest.raises(UsageError, match=f"^task 'f': {told}"):
        modules.run(source)


@pytest.mark.parametrize("source", CONTEXTS.values(), ids=list(CONTEXTS))
def test_context(modules: Modules, source: str) -> None:
    """It is found by whatever name, also if only type checkers import it."""
    signature = task_signature(modules.run(source))
    assert signature.context_name == "ctx"
    args, _ = signature.restore_arguments(["2024-02-29"], {})
    assert str(args[0]) == "2024-02-29"


def test_name_that_does_not_come_after_all(modules: Modules) -> None:
    """The first call says so, with the argument."""
    source = """
        @queue.task
        async def f(day: Day) -> None: ...

        if not len(__name__):
            Day = date
    """
    signature = task_signature(modules.run(source))
    for _ in range(2):
        with pytest.raises(
            UsageError, match=r"argument 'day' is annotated Day: module .* does not define Day"
        ):
            signature.write_arguments((1,), {})


def test_use_before_the_definition(modules: Modules) -> None:
    """It is refused, and works from the definition on."""
    source = """
        @queue.task
        async def f(n: int, day: Day) -> None: ...

        try:
            f.spec.signature.write_arguments((1, date.today()), {})
        except Exception as error:
            refusal = error

        Day = date
    """
    module = modules.run(source)
    assert isinstance(module.refusal, UsageError)
    assert "argument 'day' is annotated Day: what it names is not defined yet" in str(
        module.refusal
    )
    args, _ = task_signature(module).restore_arguments([1, "2024-02-29"], {})
    assert args[1] == date(2024, 2, 29)


@pytest.mark.parametrize("lines", [[], ["%time 1 + 1\n"]], ids=["no source", "not Python alone"])
def test_without_a_source(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name comes from cannot be known: it is looked up with the first call."""
    monkeypatch.setitem(linecache.cache, "<nowhere>", (1, None, lines, "<nowhere>"))
    code = dedent(HEAD) + dedent(
        """
        @queue.task
        async def f(ctx: Context, day: Day) -> None: ...

        Day = date
        """
    )
    module = ModuleType("sourceless")
    exec(compile(code, "<nowhere>", "exec"), vars(module))
    signature = task_signature(module)
    assert signature.context_name == "ctx"
    args, _ = signature.restore_arguments(["2024-02-29"], {})
    assert str(args[0]) == "2024-02-29"


def test_modules_that_import_each_other(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other has not defined yet is looked up later."""
    monkeypatch.syspath_prepend(str(tmp_path))
    tmp_path.joinpath("models_here.py").write_text(
        "import jobs_here\nfrom datetime import date as Day\n"
    )
    tmp_path.joinpath("jobs_here.py").write_text(
        dedent(HEAD)
        + "import models_here\n"
        + "@queue.task\nasync def f(day: models_here.Day) -> None: ...\n"
    )
    try:
        importlib.import_module("models_here")
        signature = task_signature(sys.modules["jobs_here"])
        args, _ = signature.restore_arguments(["2024-02-29"], {})
        assert str(args[0]) == "2024-02-29"
    finally:
        sys.modules.pop("models_here", None)
        sys.modules.pop("jobs_here", None)


def test_name_that_the_function_around_defines_later() -> None:
    """It is empty at the time of registration, and must not break it."""
    queue = Queue("memory://")

    @queue.task
    async def size(of: "int") -> int:
        return of * factor

    factor = 2
    assert size.name.endswith("size")
