"""The process in which `def` tasks of `executor="process"` run, from its start to its end.

Started as a file, by processes.py. The first frame lists where modules are found, so nothing but
the standard library is imported before it. One thread reads what
the worker asks for, so that the worker's end is seen while a task runs; tasks
run in the main thread, as they would in a program of their own.

Both directions carry frames: eight bytes that say how long it is, then JSON. An
answer begins with one more byte, RETURNED or RAISED; LAST before that says that this
process is to be ended, because the task has left others. Before the answer comes BEGUN,
alone, when the function is called: until then its module was imported, which may take long.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from aiostreamq.client.context import Context
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.functions.signature import TaskSignature

SIZE = 8  #: bytes that say how long a frame is
BEGUN, RETURNED, RAISED, LAST = b"~", b"=", b"!", b"."

# Seconds for what the user's modules do at exit. After that the process is ended.
LAST_WORDS = 5.0

# Options of prctl, in Linux.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Wire:
    """The socket between the worker and this process."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)  # the programs that a task starts must not inherit it
        self._socket = socket.socket(fileno=fd)
        self._incoming: BinaryIO = self._socket.makefile("rb")
        self._asked = 0
        self._answered = 0
        self.requests = SimpleQueue[bytes | None]()  #: None is the end

    def read(self) -> bytes | None:
        """Return the next frame, or None if the worker has closed its side or died."""
        try:
            size = self._incoming.read(SIZE)
            return self._incoming.read(int.from_bytes(size, "big")) if len(size) == SIZE else None
        except OSError:
            return None

    def listen(self) -> None:
        """Queue the requests as they come; see to it that this process ends with the worker."""
        while (request := self.read()) is not None:
            self._asked += 1
            self.requests.put(request)
        if self._asked == self._answered:
            self.requests.put(None)
            time.sleep(LAST_WORDS)
        end_at_once()

    def forget(self) -> None:
        """Close this copy of it, in a process that a task has forked."""
        os.close(self._socket.detach())

    def answer(self, reply: bytes) -> None:
        """Send the reply to a call."""
        self._answered += 1  # first: the worker may need nothing more after it
        self._send(reply)

    def send_begun(self) -> None:
        """Report that the function is about to be called."""
        with suppress(OSError):  # the worker has died: the other thread sees to that
            self._send(BEGUN)

    def _send(self, frame: bytes) -> None:
        self._socket.sendall(len(frame).to_bytes(SIZE, "big"))
        self._socket.sendall(frame)


def main(fd: int, worker: int) -> None:
    """Run what *worker*, a process, asks for over the socket *fd*."""
    wire = Wire(fd)
    _end_with(worker)
    # Ctrl-C and a service manager's SIGTERM may reach all processes at once. The worker
    # decides what is done about them. A handler, because what is ignored would be
    # ignored by the programs that a task starts, too.
    surroundings = Surroundings()
    surroundings.restore()
    hello = wire.read()
    if hello is None:
        return
    _prepare(json.loads(hello))
    _part_with_children(wire)
    threading.Thread(target=wire.listen, name="aiostreamq:wire", daemon=True).start()
    itself = os.getpid()
    while (request := wire.requests.get()) is not None:
        surroundings.restore()
        reply = run(request, wire.send_begun)
        if has_children():
            reply = LAST + reply
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # they may be closed, or anything that a task has put there
                stream.flush()
        if os.getpid() != itself:
            os._exit(0)  # the task has forked, and come back in both
        with suppress(BrokenPipeError):  # the worker has died: the other thread sees to that
            wire.answer(reply)


class Surroundings:
    """The state of the process that a task may change, restored for the next one."""

    def __init__(self) -> None:
        self._folder = os.open(".", os.O_RDONLY)  # its path would not do once it is renamed
        self._deepest = sys.getrecursionlimit()

    def restore(self) -> None:
        """Restore all to what it was at the start."""
        sys.setrecursionlimit(self._deepest)
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, _leave_to_the_worker)
        with suppress(OSError):  # a task has closed what is not its own
            os.fchdir(self._folder)


def has_children() -> bool:
    """Whether processes that tasks have started are left, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _prepare(hello: dict[str, Any]) -> None:
    """Look for modules where the worker does, and log as it does."""
    # First what this program needs itself: a types.py of the user's must not stand in for
    # Python's own. This fails if this package too is found only on the worker's path.
    with suppress(ImportError):
        _import_own()
    sys.path[:] = hello["path"]
    if hello["logs"] is not None:
        from aiostreamq.worker.logs.setup import LogSetup, begin

        begin(LogSetup(**hello["logs"]))


def _import_own() -> None:
    import importlib

    for name in (
        "client.task",
        "model.functions.signature",
        "model.values.codec",
        "worker.run.exceptions",
        "worker.logs.setup",
    ):
        importlib.import_module(f"aiostreamq.{name}")


def run(request: bytes, begin: "Callable[[], None]") -> bytes:
    """Call the function that a request names, and *begin* just before; returns the answer."""
    import orjson

    from aiostreamq.client.current_job import JOB
    from aiostreamq.client.deadline import DEADLINE

    try:
        call = json.loads(request)
        JOB.set((call["task"], call["about"]["job_id"], call["about"]["attempt"], None, None))
        function, signature = find_function(call["module"], call["function"], call["task"])
        args, kwargs = signature.restore_arguments(call["args"], call["kwargs"])
        args, kwargs = signature.with_context(args, kwargs, context_of(call["task"], call["about"]))
        # For what it enqueues, by a queue of its own. None too, over the job before it.
        DEADLINE.set(call["about"]["deadline"])
        begin()
        value = function(*args, **kwargs)
        if hasattr(value, "__await__"):  # the function is a wrapper around an `async def`
            value = _awaited(cast("Awaitable[object]", value))
        return RETURNED + signature.write_result(value)
    except BaseException as error:  # noqa: BLE001  # whatever a task raises is its outcome
        return RAISED + orjson.dumps(_describe(error))


def _awaited(value: "Awaitable[object]") -> object:
    import asyncio

    async def wait() -> object:
        return await value

    return asyncio.run(wait())


def find_function(
    module: str, qualname: str, task: str
) -> "tuple[Callable[..., object], TaskSignature]":
    """Import the function of a task.

    Raises:
        UsageError: Its name does not lead to it.
        ImportError: The module cannot be imported here.
    """
    import importlib

    from aiostreamq.client.context import Context
    from aiostreamq.client.task import Task
    from aiostreamq.errors import UsageError
    from aiostreamq.model.functions.signature import TaskSignature

    is_new = module not in sys.modules
    found: Any = importlib.import_module(module)
    if is_new:
        from aiostreamq.worker.logs.setup import complete

        complete()  # it may have set logging up
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Task):
        spec = found.spec
        assert spec.function is not None and spec.signature is not None  # noqa: PT018  # registered
        return spec.function, spec.signature
    if getattr(found, "__qualname__", None) != qualname or not callable(found):
        raise UsageError(
            f"task {task!r}: its process found no function {qualname!r} in module {module!r}: "
            f"do not give its name to something else"
        )
    return found, TaskSignature(task, found, Context)


def context_of(task: str, about: dict[str, Any]) -> "Context":
    """Return what a task can know of its job in a process without a connection."""
    from aiostreamq.client.context import Context
    from aiostreamq.model.time import moment_or_none

    return Context(
        about["job_id"],
        task,
        about["attempt"],
        about["delivery"],
        cast("QueueClient", NoQueue(task)),
        about["worker"],
        moment_or_none(about["scheduled_for"]),
        moment_or_none(about["deadline"]),
    )


class NoQueue:
    """Stands where the context has the queue, and says why there is none."""

    def __init__(self, task: str) -> None:
        self._task = task

    def __getattr__(self, name: str) -> object:
        from aiostreamq.errors import UsageError

        raise UsageError(
            f"task {self._task!r} runs in a process, which has no connection to Redis: its "
            f"context can neither enqueue nor report progress: return what must be enqueued next "
            f"to the caller that awaits the job, or leave executor='process' out"
        )


def _describe(error: BaseException) -> dict[str, object]:
    """Return what the worker needs to decide about *error*."""
    from aiostreamq.worker.run.exceptions import describe

    failure = describe(error)
    reply: dict[str, object] = {
        "kinds": [failure.type],
        "leaves": [],
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
    }
    with suppress(BaseException):  # its class may raise when it is asked: then that was all
        reply |= _deciding_facts(error)
    return reply


def _deciding_facts(error: BaseException) -> dict[str, object]:
    """Return what decides: the names of its classes, and its fields if it steers the job."""
    from aiostreamq.model import verdict
    from aiostreamq.model.exception_names import kinds_of
    from aiostreamq.worker.run.exceptions import LONGEST_MESSAGE, clean

    kinds = kinds_of(error, exported=True)  # the worker need not have loaded these modules
    reply: dict[str, object] = {
        "kinds": sorted(kinds.own),
        "leaves": [sorted(leaf) for leaf in kinds.leaves],
    }
    # A steering exception has a meaning beyond its name, in attributes that JSON can carry.
    steers = [kind for kind in type(error).__mro__ if kind.__module__ == verdict.__name__]
    if steers:
        reply["steers"] = steers[0].__name__
        reply["facts"] = {
            name: value if type(value) in {int, float} else clean(value)[:LONGEST_MESSAGE]
            for name, value in vars(error).items()
        }
    return reply


def end_at_once() -> None:
    """Kill this process and those that its tasks have started and left in its group."""
    os.killpg(os.getpid(), signal.SIGKILL)


def _part_with_children(wire: Wire) -> None:
    """Let what a task forks be a process as any other: it ends by SIGTERM."""
    from aiostreamq.signals import in_children, keep_from_children

    keep_from_children({signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL})
    in_children(wire.forget)


def _leave_to_the_worker(_sign: int, _frame: "FrameType | None") -> None:
    pass


def _end_with(worker: int) -> None:
    """Have Linux end this process with the worker, also in a C call that lets no thread run."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # A process that outlives its parent then becomes a child of this one, and is seen.
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != worker:
        end_at_once()  # it died before the request took effect


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
