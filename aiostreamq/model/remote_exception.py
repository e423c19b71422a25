"""What a task raised in another process."""

from aiostreamq.errors import Picklable
from aiostreamq.model.exception_names import Kinds
from aiostreamq.model.outcome import Failure


class RemoteException(Picklable):
    """A stand-in for an exception that was raised in another process.

    The exception itself is not sent: it may hold values that cannot be pickled, and the worker
    may lack its class. Retry rules are compared with its names.
    """

    def __init__(self, kinds: Kinds, failure: Failure) -> None:
        super().__init__(failure.message)
        self.kinds = kinds  #: names of its class, for `Retry`
        self.failure = failure  #: its description, for the outcome
