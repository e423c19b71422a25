"""Asking the user's objects for a name or a text, whatever their classes do.

A metaclass, a property or a `__str__` may raise, or answer with something else than
text. What is here always answers, and with nothing but plain strings.
"""

_QUALNAME = type.__dict__["__qualname__"]
_MODULE = type.__dict__["__module__"]


def name_of(kind: type) -> str:
    """Return the name of a class, with its module unless it is a built-in."""
    # The slots of `type` itself: an attribute would ask the metaclass.
    name = text_of(_QUALNAME.__get__(kind), 500)
    try:
        module = _MODULE.__get__(kind)
    except AttributeError:  # somebody has deleted it
        return name
    if not issubclass(type(module), str) or str.__eq__(module, "builtins"):
        return name
    return f"{text_of(module, 500)}.{name}"


def text_of(value: object, longest: int) -> str:
    """Return the first *longest* characters of what *value* is as text."""
    try:
        return str.__getitem__(str(value), slice(longest))  # exactly a str, also of a subclass
    except BaseException as broken:  # noqa: BLE001  # a __str__ of the user's may do anything
        return f"<its __str__ raised {name_of(type(broken))}>"
