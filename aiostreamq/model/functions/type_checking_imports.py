"""The names that a module defines at run time, and those only for type checkers.

The source is read only if an annotation names something undefined.
"""

import ast
import inspect
import linecache
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import field
from functools import lru_cache
from types import CodeType

from aiostreamq.model.record import record

# Nodes that open a scope of their own.
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


@record
class Import:
    """An import that only type checkers see."""

    module: str  #: the module that is imported, or imported from
    attribute: str | None  #: the name imported from it; None is the module itself
    line: int


@record
class Bindings:
    """The names of a module."""

    at_run_time: set[str] = field(default_factory=set[str])  #: at module level
    for_checkers: dict[str, Import | None] = field(default_factory=dict[str, Import | None])
    #: whether there is a `from x import *`, which may define any name
    has_star: bool = False

    def is_for_checkers(self, name: str) -> bool:
        """Whether only type checkers know *name*."""
        return name in self.for_checkers and not self.may_define(name)

    def may_define(self, name: str) -> bool:
        """Whether *name* may be defined once the module has run."""
        return self.has_star or name in self.at_run_time


def bindings_of(code: CodeType, namespace: dict[str, object]) -> Bindings | None:
    """Return the names of the module that *code* is part of; None if its source is missing."""
    lines = linecache.getlines(code.co_filename, namespace)
    return _read("".join(lines)) if lines else None


def is_running(namespace: dict[str, object]) -> bool:
    """Whether the module of *namespace* is still running, so that it may define more names."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is namespace and frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=8)
def _read(source: str) -> Bindings | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None  # not plain Python, such as a notebook cell
    reader = _Reader()
    reader.visit(tree)
    return Bindings(reader.at_run_time, reader.for_checkers, reader.has_star)


class _Reader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.at_run_time: set[str] = set()
        self.for_checkers: dict[str, Import | None] = {}
        self.has_star = False
        self._is_inner = False
        self._is_for_checkers = False

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.If():
                self._visit_if(node)
            case ast.Import() | ast.ImportFrom():
                self._visit_import(node)
            case ast.Global():
                self.at_run_time.update(node.names)
            case _ if isinstance(node, _SCOPES):
                self._bind(getattr(node, "name", ""))
                with self._inside():
                    self.generic_visit(node)
            case ast.Name(ctx=ast.Store()):
                self._bind(node.id)
            case _:
                self.generic_visit(node)

    def _visit_if(self, node: ast.If) -> None:
        is_for_checkers = _asks_for_checkers(node.test)
        for branch, is_theirs in ((node.body, True), (node.orelse, False)):
            with self._for_checkers(is_for_checkers is is_theirs):
                self._visit_all(branch)

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.has_star |= not self._is_for_checkers
                continue
            if isinstance(node, ast.ImportFrom):
                found = Import("." * node.level + (node.module or ""), alias.name, node.lineno)
                self._bind(alias.asname or alias.name, found)
            else:
                # `import a.b` binds `a`, `import a.b as c` binds `c` to a.b.
                top = alias.name.partition(".")[0]
                self._bind(
                    alias.asname or top,
                    Import(alias.name if alias.asname else top, None, node.lineno),
                )

    def _bind(self, name: str, source: Import | None = None) -> None:
        if self._is_for_checkers:
            self.for_checkers[name] = source
        elif not self._is_inner:
            self.at_run_time.add(name)

    @contextmanager
    def _inside(self) -> Generator[None]:
        before, self._is_inner = self._is_inner, True
        yield
        self._is_inner = before

    @contextmanager
    def _for_checkers(self, value: bool) -> Generator[None]:
        before, self._is_for_checkers = self._is_for_checkers, self._is_for_checkers or value
        yield
        self._is_for_checkers = before


def _asks_for_checkers(test: ast.expr) -> bool | None:
    """Whether *test* is true only for type checkers, or (False) only at run time."""
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.Constant(value=False | 0):
            return True
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _asks_for_checkers(operand)
            return None if inner is None else not inner
        case _:
            return None
