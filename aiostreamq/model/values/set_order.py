"""Sets in JSON: the same list for the same members.

Python keeps the members of a set in an order that differs from process to process, and pydantic
writes them in it. Two values are compared by their JSON only if that order is gone.
"""

from collections.abc import Set as AbstractSet
from typing import cast

import orjson
from pydantic import RootModel, Secret, SecretBytes, SecretStr

from aiostreamq.model.values.pydantic_secrets import pairs


def with_sorted_sets(value: object, written: object) -> object:
    """Return *written* with the members of each set sorted.

    A place of which a serializer of the user has changed the structure stays as it is.

    Args:
        value: The value.
        written: The JSON that pydantic wrote for it, as Python objects, which are changed in place.
    """
    if isinstance(value, SecretStr | SecretBytes | Secret):
        secret = cast("SecretStr | SecretBytes | Secret[object]", value)
        return with_sorted_sets(secret.get_secret_value(), written)
    if isinstance(value, RootModel):
        return with_sorted_sets(cast("RootModel[object]", value).root, written)
    for step, part in pairs(value, written):
        if step is not None:
            inside = cast("dict[str | int, object]", written)
            inside[step] = with_sorted_sets(part, inside[step])
    if isinstance(value, AbstractSet) and isinstance(written, list):
        return sorted(cast("list[object]", written), key=_as_text)
    return written


def _as_text(member: object) -> bytes:
    return orjson.dumps(member, option=orjson.OPT_SORT_KEYS)
