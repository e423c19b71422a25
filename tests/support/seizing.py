"""A call that lets no other thread run, and takes no processor time."""

import ctypes


def seize_interpreter() -> None:
    """Never come back, hear no signal, and keep the lock of the interpreter.

    As a calculation in C that takes for ever, but here the other tests keep their processor.
    """
    api = ctypes.pythonapi  # its calls keep the lock of the interpreter
    api.PyThread_allocate_lock.restype = ctypes.c_void_p
    lock = ctypes.c_void_p(api.PyThread_allocate_lock())
    for _ in range(2):  # the second time waits for the first to let go
        api.PyThread_acquire_lock(lock, 1)
