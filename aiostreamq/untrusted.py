"""Names and texts of the user's objects, read safely.

A metaclass, a property or a `__str__` may raise, or return something other than a
string. The functions here never raise, and always return plain strings.
"""

_QUALNAME = type.__dict__["__qualname__"]
_MODULE = type.__dict__["__module__"]


def name_of(kind: type) -> str:
    """Return the name of a class, with its module unless it is a built-in."""
    # Reads the slots of `type` itself: an attribute access would go through the metaclass.
    name = text_of(_QUALNAME.__get__(kind), 500)
    try:
        module = _MODULE.__get__(kind)
    except AttributeError:  # it was deleted
        return name
    if not issubclass(type(module), str) or str.__eq__(module, "builtins"):
        return name
    return f"{text_of(module, 500)}.{name}"


def text_of(value: object, longest: int) -> str:
    """Return the first *longest* characters of `str(value)`."""
    try:
        return str.__getitem__(str(value), slice(longest))  # a plain str, even from a subclass
    except BaseException as broken:  # noqa: BLE001  # the user's __str__ may do anything
        return f"<its __str__ raised {name_of(type(broken))}>"
