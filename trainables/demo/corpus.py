"""The demo's two sources, both extracted from Python's standard library: module text and docstring → function pairs.

A top-level module or package goes to exactly one of three parts, chosen by a hash of its name, so that the pairs a user
fine-tunes on come from modules that the model was never pretrained on.
"""

import ast
import hashlib
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Part = Literal["pretrain", "validation", "pairs"]

# Tests, bundled wheels, character tables, generated prose and the interpreter's own settings: not code worth learning.
LEFT_OUT = frozenset(
    ["site-packages", "test", "tests", "idle_test", "__pycache__", "_bundled", "encodings", "pydoc_data", "turtledemo"]
)
SHORTEST, LONGEST = (
    40,
    640,
)  # bytes of a function without its docstring: a one-line stub teaches nothing, a long one would be truncated


def part_of(relative: Path) -> Part:
    """The part that a file of the library belongs to, by its top-level name: about 34 % pairs, 4 % validation."""
    top = relative.parts[0].removesuffix(".py")
    bucket = int.from_bytes(hashlib.sha256(top.encode()).digest()[:4], "big") % 100
    if bucket < 34:
        return "pairs"
    return "validation" if bucket < 38 else "pretrain"


def modules(part: Part) -> Iterator[tuple[str, str]]:
    """(name, source) of each module of a part, in a fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        built = relative.parts[0].startswith(("config-", "_sysconfigdata"))
        if not built and LEFT_OUT.isdisjoint(relative.parts) and part_of(relative) == part:
            yield relative.as_posix(), path.read_text(encoding="utf-8", errors="replace")


def pairs() -> list[dict[str, str]]:
    """Rows of `instruction` (the docstring's first paragraph), `input` (the class a method belongs to, or empty) and
    `output` (the function without its docstring), each output once."""
    rows: dict[str, dict[str, str]] = {}
    for _, source in modules("pairs"):
        for row in _pairs_of(source):
            rows.setdefault(row["output"], row)
    return list(rows.values())


def _pairs_of(source: str) -> Iterator[dict[str, str]]:
    def visit(node: ast.AST, owner: str) -> Iterator[dict[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from visit(child, f"class {child.name}")
            elif isinstance(child, ast.FunctionDef) and len(child.body) > 1:
                instruction = (ast.get_docstring(child) or "").split("\n\n")[0].replace("\n", " ").strip()
                output = _without_docstring(child, lines)
                if instruction and SHORTEST <= len(output.encode()) <= LONGEST:
                    yield {"instruction": instruction, "input": owner, "output": output}

    lines = source.splitlines()
    yield from visit(ast.parse(source), "")


def _without_docstring(function: ast.FunctionDef, lines: list[str]) -> str:
    docstring = function.body[0]
    assert docstring.end_lineno is not None and function.end_lineno is not None
    kept = lines[function.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : function.end_lineno]
    return textwrap.dedent("\n".join(kept)).strip()
