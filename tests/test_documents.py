"""What the documents name is there: files, commands, and every line of README's tree."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
PATH = re.compile(r"(?<![\w./~-])(?:sweep|trainables|benchmarks|tests|cluster|docs)/[\w./*-]*\w")
MODULE = re.compile(r"python -m ((?:sweep|trainables|benchmarks)[.\w]*\w)(?![.\w])")


def missing(text: str) -> list[str]:
    """Paths and runnable modules that a text names and the project has not; `benchmarks.NAME` stands for any."""
    modules = [name.replace(".", "/") for name in MODULE.findall(text) if not name.endswith(".NAME")]
    files = [f"{name}/__main__.py" if (PROJECT / name).is_dir() else f"{name}.py" for name in modules]
    return [name for name in [*PATH.findall(text), *files] if not [*PROJECT.glob(name)]]


def not_in_tree(tree: str) -> list[str]:
    """Names in a tree with a line for each file or folder; a line's text may name further ones beside or below it."""
    found, package = [], ""
    for line in re.sub(r"\n {4,}", " ", tree).splitlines():  # a line may go on, further in
        name, _, text = line.strip().partition(" ")
        package = package if line.startswith(" ") else name
        own = PROJECT / package / (name if line.startswith(" ") else "")
        folder = own if name.endswith("/") else own.parent
        found += [] if own.exists() else [f"{package}{name}"]
        found += [f"{package} {other}" for other in re.findall(r"\w+\.py\b", text) if not _near(other, folder, package)]
    return found


def _near(name: str, folder: Path, package: str) -> bool:
    return (folder / name).exists() or (PROJECT / package / name).exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(document: Path) -> None:
    assert missing(document.read_text(encoding="utf-8")) == []


def test_what_the_code_names_is_there() -> None:
    code = [file for folder in ("sweep", "trainables", "benchmarks") for file in (PROJECT / folder).rglob("*.py")]
    text = "\n".join(
        file.read_text(encoding="utf-8") for file in [*code, PROJECT / "cluster.yaml", PROJECT / ".ci" / "run"]
    )
    assert missing(text) == []


def test_readmes_tree_is_the_projects() -> None:
    tree = tree_of_readme()
    assert not_in_tree(tree) == []
    told = {name.rstrip("/") for name in re.findall(r"^ {,2}(\S+)", tree, re.MULTILINE)}
    rooms = [folder for package in ("sweep", "trainables") for folder in (PROJECT / package).glob("*/*.py")]
    assert {file.parent.name for file in rooms} <= told


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert dead_links(document.read_text(encoding="utf-8"), document.parent) == []


def dead_links(text: str, folder: Path) -> list[str]:
    """The links to files, and to headings of Markdown files, that are not there."""
    links = re.findall(r"\]\((?!https?:)([^()\s]+)\)", text)
    return [link for link in links if not _leads(link, folder, text)]


def _leads(link: str, folder: Path, text: str) -> bool:
    name, _, heading = link.partition("#")
    file = folder / name
    if not heading or not file.exists():
        return file.exists()
    return heading in _anchors(file.read_text(encoding="utf-8") if name else text)


def _anchors(text: str) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_the_first_page_leads_to_every_other_one() -> None:
    docs = PROJECT / "docs"
    linked = set(re.findall(r"\]\(([\w/.-]+)", (docs / "README.md").read_text(encoding="utf-8")))
    pages = {file.relative_to(docs).as_posix() for file in [*docs.glob("*.md"), *docs.glob("examples/*")]}
    assert pages - {"README.md"} <= linked
    assert len((docs / "README.md").read_text(encoding="utf-8").splitlines()) <= 50, "it is one screen"


def tree_of_readme() -> str:
    (tree,) = re.findall(r"## How it is built\n\n```\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    return str(tree)


@pytest.mark.parametrize("lost", ["sweep/old.py", "`benchmarks/gone`", "docs/nothing.md", "python -m sweep.old"])
def test_what_is_not_there_is_found(lost: str) -> None:
    assert len(missing(f"See {lost}, and python -m benchmarks.NAME or sweep/grid.py.")) == 1


@pytest.mark.parametrize("lost", ["gone.md", "docs/answer.md#no-heading", "sweep/old.py", "#nowhere"])
def test_a_dead_link_is_found(lost: str) -> None:
    text = f"# Here, too\n[a](docs/answer.md#several-sweeps), [here](#here-too), [b](https://example.org/gone.md) and [c]({lost})"
    assert dead_links(text, PROJECT) == [lost]


def test_what_is_not_in_the_tree_is_found() -> None:
    tree = "sweep/     all\n  old/     gone\n  store/   lost.py: no;\n           store.py, gone.py\n  grid.py  space.py: there\n"
    assert not_in_tree(tree) == ["sweep/old/", "sweep/ lost.py", "sweep/ gone.py"]
