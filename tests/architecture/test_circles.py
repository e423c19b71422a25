"""No modules of the package import each other, at run time or for types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import aiostreamq

PACKAGE = Path(aiostreamq.__file__).parent

Graph = dict[str, set[str]]


def module_of(path: Path) -> str:
    """Return the dotted name of the module in a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(path: Path, modules: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in modules:
                    yield submodule
                elif node.module in modules:
                    yield node.module


def import_graph() -> Graph:
    """Return which module imports which; TYPE_CHECKING and late imports count."""
    paths = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    # Each module imports the packages above it. That is how Python works, and no circle.
    return {
        module: {found for found in imports_in(path, {*paths}) if found != module}
        for module, path in paths.items()
    }


def reachable(graph: Graph, start: str) -> set[str]:
    """Return the modules that *start* imports, directly or through others."""
    found: set[str] = set()
    left = [start]
    while left:
        for module in graph[left.pop()] - found:
            found.add(module)
            left.append(module)
    return found


def circles_in(graph: Graph) -> set[frozenset[str]]:
    """Return the largest sets of modules of which each imports each, through others."""
    reach = {module: reachable(graph, module) for module in graph}
    return {
        frozenset({other for other in reach[module] if module in reach[other]})
        for module in graph
        if module in reach[module]
    }


def test_circles_are_found() -> None:
    """The search finds circles of two and of three modules, and nothing else."""
    graph: Graph = {
        "a": {"b"},
        "b": {"a", "c"},
        "c": {"d"},
        "d": {"e"},
        "e": {"c", "f"},
        "f": set(),
    }
    assert circles_in(graph) == {frozenset("ab"), frozenset("cde")}


def test_no_modules_import_each_other() -> None:
    """There is no circle in the package, not even of types."""
    graph = import_graph()
    assert len(graph) > 100
    assert circles_in(graph) == set()
