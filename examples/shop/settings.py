"""The settings of the shop, from its environment, in one place."""

import os
from dataclasses import dataclass, field


def _from(variable: str, default: str) -> str:
    return os.environ.get(variable) or default


@dataclass(frozen=True)
class Settings:
    """The settings of the shop."""

    #: The Redis of the queues. The tests of the shop set memory://.
    redis_url: str = field(
        default_factory=lambda: _from("AIOSTREAMQ_URL", "redis://localhost:6379")
    )
    #: The start of the names of the queues: another application on this Redis has another.
    prefix: str = field(default_factory=lambda: _from("SHOP_PREFIX", "shop"))


settings = Settings()
