"""The examples in docstrings run."""

import doctest
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from inspect import getsource

import aiostreamq

#: Modules for frameworks that this Python may be too old for. `make test-newest` has them.
NEEDS = {"aiostreamq.contrib.django": "django"}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(aiostreamq.__path__, "aiostreamq.")
    if all(find_spec(needed) or not module.name.startswith(name) for name, needed in NEEDS.items())
)


def test_examples_in_docstrings() -> None:
    """What a docstring shows is what happens."""
    modules = {name: import_module(name) for name in MODULES}
    # To look for docstrings in a module takes longer than to look for the sign of an example.
    shown = {name: module for name, module in modules.items() if ">>> " in getsource(module)}
    results = {name: doctest.testmod(module) for name, module in shown.items()}
    assert [name for name, result in results.items() if result.failed] == []


def test_there_are_some() -> None:
    """The search finds examples where they are known to be."""
    assert doctest.testmod(import_module("aiostreamq.model.duration")).attempted
