"""The names of exception classes, by which retry rules find them."""

from aiostreamq.model.exception_names import kinds_of, lineage, name_of


def test_class_without_a_module() -> None:
    """A class whose module is missing or not a string is named all the same."""
    numbered = type("Numbered", (Exception,), {"__module__": 7})
    assert name_of(numbered) == "?.Numbered"
    assert "Exception" in lineage(numbered)
    names: dict[str, type] = {}  # of a module without a name
    exec("Homeless = type('Homeless', (Exception,), {})", names)
    assert name_of(names["Homeless"]) == "?.Homeless"


def test_group() -> None:
    """A group names each class in it once, at whatever depth."""
    same = ValueError()
    inner = ExceptionGroup("inner", [same, KeyError()])
    found = kinds_of(ExceptionGroup("outer", [inner, same, ValueError()]))
    assert "ExceptionGroup" in found.own
    assert sorted(min(names & {"ValueError", "KeyError"}) for names in found.leaves) == [
        "KeyError",
        "ValueError",
    ]
