"""The code keeps to the size of a screen, explains itself, and no module needs itself: what a reader can rely on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import REPOSITORY

PACKAGES = ("flows", "tasks", "lang_configs", "tools")
FILE_LINES, FUNCTION_LINES, CLASS_LINES = 400, 60, 200


def faults(path: Path) -> Iterator[str]:
    """What is too long in a module, and whether it lacks a docstring; lines of decorators count."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    if (lines := len(text.splitlines())) > FILE_LINES:
        yield f"{path}: {lines} lines, more than {FILE_LINES}; split it by what its parts are about"
    if ast.get_docstring(tree) is None:
        yield f"{path}: no docstring; say in its first line what the module is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kind, most = ("class", CLASS_LINES) if isinstance(node, ast.ClassDef) else ("function", FUNCTION_LINES)
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if (lines := (node.end_lineno or first) - first + 1) > most:
                yield f"{path}:{first}: {kind} {node.name} has {lines} lines, more than {most}"


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others: the strongly connected components."""

    def reachable(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for module in imports.get(waiting.pop(), set()) - found:
                found.add(module)
                waiting.append(module)
        return found

    reach = {module: reachable(module) for module in imports}
    groups = {frozenset(one for one in reach[module] if module in reach.get(one, ())) for module in imports}
    return sorted(sorted(group) for group in groups if group)


def test_every_module_function_and_class_is_short_and_every_module_says_what_it_is_for() -> None:
    modules = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
    assert len(modules) > 100
    found = [fault.removeprefix(f"{REPOSITORY}/") for path in modules for fault in faults(path)]
    assert not found, "\n".join(found)


def test_no_module_imports_itself_through_others() -> None:
    import grimp

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found = circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    assert not found, "\n".join(f"these import each other: {', '.join(group)}" for group in found)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('"""Doc."""\n' + "x = 1\n" * 400, "401 lines, more than 400"),
        ("x = 1\n", "no docstring"),
        ('"""Doc."""\n\n\n@cache\ndef work():\n' + "    x = 1\n" * 59, ":4: function work has 61 lines, more than 60"),
        ('"""Doc."""\n\n\nclass Big:\n' + "    x = 1\n" * 200, ":4: class Big has 201 lines, more than 200"),
        ('"""Doc."""\n\n\nclass Fine:\n    async def run(self):\n' + "        x = 1\n" * 60, ":5: function run has 61 lines"),
        ('"""Doc."""\n\n\ndef work():\n' + "    x = 1\n" * 59 + "x = 1\n" * 337, None),
    ],
)
def test_an_offender_is_named(tmp_path: Path, source: str, fault: str | None) -> None:
    (tmp_path / "module.py").write_text(source)
    found = list(faults(tmp_path / "module.py"))
    assert len(found) == (fault is not None)
    assert fault is None or fault in found[0]


def test_a_circle_is_found_however_long_it_is() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}, "f": {"f"}}
    assert circles(imports) == [["a", "b", "c"], ["f"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
