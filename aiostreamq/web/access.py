"""Access to the dashboard: logins, and the right to change a queue by it."""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from starlette.requests import Request

# The addresses of this computer, as servers and browsers write them.
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})

# Headers by which a proxy says that it forwards the request of another computer.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@record
class Access:
    """The rights of a request. Without an Access it is refused."""

    user: str = ""  #: for the audit trail
    write: bool = True  #: whether it may change the queue, if the dashboard can


#: Decides about a request: returns its Access, or None to refuse it.
Authorize = Callable[["Request"], "Access | Awaitable[Access | None] | None"]


class BasicLogin:
    """A login by name and password, which the browser asks for."""

    challenge = 'Basic realm="aiostreamq", charset="UTF-8"'

    def __init__(self, passwords: Mapping[str, str], readers: frozenset[str]) -> None:
        self._passwords = {user: password.encode() for user, password in passwords.items()}
        self._readers = readers

    def __call__(self, request: "Request") -> Access | None:
        """Return the Access of the user, or None if the password is wrong."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        # Compared in the same time whether or not the user exists.
        expected = self._passwords.get(user, b"")
        is_right = hmac.compare_digest(password.encode(), expected)
        if not (is_right and expected):
            return None
        return Access(user, write=user not in self._readers)


def basic_login(passwords: Mapping[str, str], *, readers: "tuple[str, ...]" = ()) -> BasicLogin:
    """Return a login by name and password, for `dashboard(authorize=...)`.

    Use it only over HTTPS: browsers send the password with each request.

    Args:
        passwords: The password of each user.
        readers: The users who may not change anything.

    Raises:
        UsageError: There are no users, or a name or a password is empty.
    """
    if not passwords or not all(name and password for name, password in passwords.items()):
        raise UsageError('basic_login() needs users with passwords: basic_login({"ada": "..."})')
    if unknown := set(readers) - set(passwords):
        raise UsageError(f"readers={readers!r}: {', '.join(sorted(unknown))} has no password")
    return BasicLogin(passwords, frozenset(readers))


def proxy_login(header: str, *, readers: "tuple[str, ...]" = ()) -> "Authorize":
    """Return a login by a header that a proxy sets after its own login.

    The proxy must remove the header from the requests of clients, and the dashboard must be
    reachable only through the proxy.

    Args:
        header: The header with the name of the user, such as "X-Forwarded-User".
        readers: The users who may not change anything.

    Raises:
        UsageError: *header* is empty.
    """
    if not header:
        raise UsageError('proxy_login() needs the name of a header, such as "X-Forwarded-User"')

    def authorize(request: "Request") -> Access | None:
        user = request.headers.get(header, "")
        return Access(user, write=user not in readers) if user else None

    return authorize


def is_local(request: "Request") -> bool:
    """Return whether a request comes from this computer, by an address of this computer.

    The name in the address counts too: another site's name may lead to 127.0.0.1.
    """
    client = request.client
    if client is None or client.host not in LOCAL_HOSTS:
        return False
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    return request.url.hostname in LOCAL_HOSTS and not is_forwarded
