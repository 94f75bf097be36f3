"""Reads which module imports which, and says where that goes against the order of the rooms.

A room is a folder of a package; the files beside the folders are rooms by lines: those that stand in one line of the order
are one room.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_FILES = 12  # of a room, `__init__` aside

Graph = Mapping[str, set[str]]  # module → modules of the same packages that it imports anywhere, in functions too


def graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """The imports of every module below the packages' folders."""
    files = {_module(file, root): file for package in packages for file in sorted((root / package).rglob("*.py"))}
    return {module: set(_imports(file, files)) - {module} for module, file in files.items()}


def _module(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imports(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in whole]
        yield from (name for name in names if name in known)


def circles(imports: Graph) -> list[list[str]]:
    """Modules that import each other, around any number of corners (Tarjan's strongly connected components)."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        path.append(module)
        for other in sorted(imports.get(module, ())):
            if other not in index:
                visit(other)
            if other in path:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            start = path.index(module)
            together = path[start:]
            del path[start:]
            if len(together) > 1:
                found.append(sorted(together))

    for module in imports:
        if module not in index:
            visit(module)
    return found


def order(text: str) -> list[list[str]]:
    """The lines of an order, the highest first, each with its rooms: "sweep/store", "sweep/space.py", or "sweep/*.py" for the rest."""
    return [line.partition("#")[0].split() for line in text.splitlines() if line.partition("#")[0].strip()]


def upward(imports: Graph, lines: list[list[str]]) -> list[str]:
    """Imports of a higher line, or of another room of the same one, and modules of no line."""
    height = {room: len(lines) - place for place, line in enumerate(lines) for room in line}
    homeless = sorted(module for module in imports if _room(module, height) is None)
    found = [f"{module} stands in no line" for module in homeless]
    for module, others in sorted(imports.items()):
        for other in sorted(others):
            here, there = _room(module, height), _room(other, height)
            if here is None or there is None or _same(here, there, height):
                continue
            if height[there] >= height[here]:
                found.append(f"{module} imports {other}")
    return found


def _room(module: str, height: Mapping[str, int]) -> str | None:
    package, *rest = module.split(".")
    own = [f"{package}/{rest[0]}"] if rest else []  # a folder
    if len(rest) < 2:
        own += [f"{package}/{name}.py" for name in (*rest, "*")]
    return next((name for name in own if name in height), None)


def _same(here: str, there: str, height: Mapping[str, int]) -> bool:
    files_of_a_line = here.endswith(".py") and there.endswith(".py") and height[here] == height[there]
    return here == there or files_of_a_line


def overfull(root: Path, packages: tuple[str, ...]) -> list[str]:
    """Folders with more than MOST_FILES modules."""
    folders = [folder for package in packages for folder in (root / package, *(root / package).rglob("*"))]
    counts = {
        folder: sum(file.name != "__init__.py" for file in folder.glob("*.py")) for folder in folders if folder.is_dir()
    }
    return [f"{folder.relative_to(root)}: {count} files" for folder, count in counts.items() if count > MOST_FILES]
