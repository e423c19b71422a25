"""The address of Redis, as users give it: a URL, or a client or a pool of redis-py.

`checked_source` checks it without connecting, and without importing redis-py for a URL;
`pool_for` turns it into a pool.
"""

import inspect
import re
from typing import TYPE_CHECKING, TypeAlias, cast

from aiostreamq.errors import UsageError
from aiostreamq.signals_and_forks import no_fork
from aiostreamq.store.connection.redaction import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import AnyUrl
    from pydantic_core import MultiHostUrl
    from redis.asyncio import ConnectionPool, Redis

    Loose = Callable[[str], ConnectionPool]  # its **kwargs have no types

#: A URL (one of pydantic's too), a client, its pool, or None for that of the environment.
RedisSource: TypeAlias = "str | Redis | ConnectionPool | AnyUrl | MultiHostUrl | None"

_TAKES = "a URL such as redis://host:6379/0, a redis.asyncio.Redis or its pool"

# The packages whose URL objects give the whole URL with str().
_URL_PACKAGES = {"pydantic", "pydantic_core"}

# Advice on other objects, by package and class; the first that matches is given.
_INSTEAD = (
    (r"fakeredis\..*", "write memory:// for a queue in memory"),
    (r"pydantic.*\.Secret\w*", "give its value: secret.get_secret_value()"),
    (r"redis\.asyncio\.cluster\..*|redis\.cluster\..*", "Redis Cluster is not supported yet"),
    (r"redis\.asyncio\.sentinel\.Sentinel", "give it sentinel.master_for('name')"),
    (r"redis\.sentinel\..*", "use redis.asyncio.Sentinel(...).master_for('name')"),
    (r"redis\.connection\..*Pool", "it blocks: use redis.asyncio.ConnectionPool, or the URL"),
    (r"redis\.client\..*", "it blocks: use redis.asyncio.Redis, or the URL"),
    (r"builtins\.bytes", "decode it: url.decode()"),
    (r"pathlib\..*", "write f'unix://{path}' for a socket"),
    (r"builtins\.dict", "write the URL, or redis.asyncio.Redis(**options)"),
    (r"aiostreamq\..*", "a queue is made of a URL or a client"),
    (r"(yarl|httpx|urllib)\..*", "write it as a string"),
)


def checked_source(where: object) -> "str | Redis | ConnectionPool":
    """Return *where*, as a string if it is a URL object.

    Raises:
        UsageError: A queue cannot connect with it.
    """
    if isinstance(where, str):
        return _checked_url(where)
    package = type(where).__module__.partition(".")[0]
    if package in _URL_PACKAGES and hasattr(where, "scheme"):
        return _checked_url(str(where))
    if package == "fakeredis" or not _is_of_redis(where):
        raise UsageError(f"a queue takes {_TAKES}, not {_named(where)}: {_advice(where)}")
    return cast("Redis | ConnectionPool", where)


def pool_for(where: "str | Redis | ConnectionPool") -> "ConnectionPool":
    """Return a pool that connects to *where*.

    Raises:
        UsageError: The URL is invalid, or has an option that connections do not take.
    """
    # A child that another thread forks during the import could never import it.
    with no_fork():
        from redis.asyncio import ConnectionPool

    if isinstance(where, ConnectionPool):
        return where
    if not isinstance(where, str):
        return where.connection_pool
    from_url = cast("Loose", ConnectionPool.from_url)  # pyright: ignore[reportUnknownMemberType]
    try:
        pool = from_url(where)
    except ValueError:
        # Without the message of redis-py: that may quote a part of a password.
        raise no_url("an option behind the ? has an invalid value") from None
    known = _parameters(pool.connection_class)
    for name in pool.connection_kwargs:
        if name not in known:
            advice = _option_advice(name, known, is_tls=where.startswith("rediss"))
            raise no_url(f"there is no option {name!r}: {advice}")
    return pool


def no_url(why: str) -> UsageError:
    """Return the error for a string that is not the URL of a Redis."""
    return UsageError(
        "invalid Redis URL: write redis://host:6379/0, rediss://..., unix:///path/to/socket "
        f"or memory:// ({why})"
    )


def _checked_url(url: str) -> str:
    if not url.startswith("memory://") and (fault := fault_of(url)) is not None:
        raise no_url(fault)
    return url


def _is_of_redis(where: object) -> bool:
    if type(where).__module__.partition(".")[0] == "builtins":
        return False
    from redis.asyncio import ConnectionPool, Redis

    return isinstance(where, Redis | ConnectionPool)


def _option_advice(name: str, known: set[str], *, is_tls: bool) -> str:
    if name.startswith(("ssl", "tls")) and not is_tls:
        return "write rediss:// for TLS"
    from difflib import get_close_matches  # imported only when there is an error

    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else "leave it out"


def _parameters(connection: type) -> set[str]:
    """Return the parameters that *connection* takes, including those of its bases."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        name
        for base in connection.__mro__
        if "__init__" in vars(base) and base is not object
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.kind in kinds and name != "self"
    }


def _named(where: object) -> str:
    if isinstance(where, type):
        return f"the class {where.__name__} itself"
    kind = type(where)
    module = kind.__module__
    name = kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
    return f"an object of type {name}"


def _advice(where: object) -> str:
    if isinstance(where, type):
        return f"make one, as in {where.__name__}(...)"
    kind = type(where)
    full = f"{kind.__module__}.{kind.__qualname__}"
    bases = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    for pattern, advice in _INSTEAD:
        if any(re.fullmatch(pattern, name) for name in (full, *bases)):
            return advice
    return "give one of these"


def address_of(pool: "ConnectionPool") -> str:
    """Return the address of a pool for people, without user name and password."""
    options = cast("dict[str, object]", pool.connection_kwargs)
    database = f"database {options.get('db') or 0}"
    if is_unix(pool):
        return f"{options['path']}, {database}"
    service: str | None = getattr(pool, "service_name", None)
    if service is not None:
        return f"the master of {service!r} (by sentinels), {database}"
    host = str(options.get("host", "localhost"))
    return f"{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}, {database}"


def is_unix(pool: "ConnectionPool") -> bool:
    """Return whether a pool connects to the file of a socket."""
    return "path" in pool.connection_kwargs
