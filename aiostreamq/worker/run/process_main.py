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

import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from types import FrameType

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
        self.closing_time = LAST_WORDS  #: seconds for the end of this process

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
            time.sleep(self.closing_time)
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
        reply = _reply_to(request, wire)
        if has_children():
            reply = LAST + reply
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # they may be closed, or anything that a task has put there
                stream.flush()
        if os.getpid() != itself:
            os._exit(0)  # the task has forked, and come back in both
        with suppress(BrokenPipeError):  # the worker has died: the other thread sees to that
            wire.answer(reply)
    _leave_resources()


def _leave_resources() -> None:
    """Leave the lifespans, if a job has entered them."""
    if "aiostreamq.worker.run.process_call" in sys.modules:
        from aiostreamq.worker.run.process_call import resources

        resources.close()


def _reply_to(request: bytes, wire: Wire) -> bytes:
    from aiostreamq.worker.run.process_call import perform, resources

    has_returned, answer = perform(request, wire.send_begun)
    wire.closing_time = LAST_WORDS + resources.closing_time
    return (RETURNED if has_returned else RAISED) + answer


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
        importlib.import_module("aiostreamq.worker.run.process_call")
    sys.path[:] = hello["path"]
    if hello["logs"] is not None:
        from aiostreamq.worker.logs.setup import LogSetup, begin

        begin(LogSetup(**hello["logs"]))


def end_at_once() -> None:
    """Kill this process and those that its tasks have started and left in its group."""
    os.killpg(os.getpid(), signal.SIGKILL)


def _part_with_children(wire: Wire) -> None:
    """Let what a task forks be a process as any other: it ends by SIGTERM."""
    from aiostreamq.signals_and_forks import in_children, keep_from_children

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
