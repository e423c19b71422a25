"""A network that is spoiled in one way after the other."""

import random
from collections.abc import Callable

from tests.support.proxy import Proxy


class Mischief:
    """Spoils a network in one way after the other."""

    def __init__(self, proxy: Proxy) -> None:
        self.done = 0
        self._ways: list[Callable[[], None]] = [
            proxy.cut,
            lambda: proxy.cut_after(random.randrange(400)),
            proxy.drop_replies,
            lambda: proxy.drop_replies(1, to=b"EVALSHA"),
            lambda: proxy.drop_replies(1, to=b"BLPOP"),
            lambda: proxy.drop_replies(1, to=b"XREADGROUP"),
        ]

    def once(self) -> None:
        """Do one thing."""
        self.done += 1
        random.choice(self._ways)()
