"""What a task raised in another process."""

from aiostreamq.errors import Picklable
from aiostreamq.model.exception_names import Kinds
from aiostreamq.model.outcome import Failure


class RemoteException(Picklable):
    """Stands for an exception that stayed in the process that raised it.

    The exception itself is not sent: it may hold what cannot travel, and the
    worker need not have its class. What is decided about it goes by names.
    """

    def __init__(self, kinds: Kinds, failure: Failure) -> None:
        super().__init__(failure.message)
        self.kinds = kinds  #: what it is, as `Retry` compares it
        self.failure = failure  #: what there is to tell about it
