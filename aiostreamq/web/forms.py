"""Forms as browsers send them: a small body of names and values.

Read here, and not by Starlette, whose own reader of forms needs another package.
"""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request

# Bytes and fields of a form: far more than any form of the dashboard has.
_LONGEST = 64 * 1024
_MOST_FIELDS = 32

_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: "Request") -> dict[str, str]:
    """Return the fields of the form in a request; if a name occurs twice, the last counts.

    Raises:
        HTTPException: 415 if it is not a form, 413 if it is too long, 400 if it is malformed.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise HTTPException(415, f"Send a form, as {_TYPE}.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            raise HTTPException(413, "The form is too long.")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, "The form is malformed.") from None
    return dict(fields)
