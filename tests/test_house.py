"""House rules that a reader would otherwise have to check by eye."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import collapse_ray

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "collapse_ray"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc"}


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_no_drawers() -> None:
    assert [where(path) for path in PACKAGE.rglob("*") if path.stem in DRAWERS] == []


def test_init_files_are_empty_below_the_top() -> None:
    inits = [path for path in MODULES if path.name == "__init__.py" and path.parent != PACKAGE]
    assert [where(path) for path in inits if path.read_text()] == []


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without `__init__.py` is not installed, and no contract sees it."""
    folders = {path.parent for path in MODULES}
    assert [where(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_files_are_short() -> None:
    lengths = {where(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE_LINES} == {}


@pytest.mark.slow
def test_functions_are_short() -> None:
    lengths = {f"{where(path)}: {name}": length for path in MODULES for name, length in functions(path)}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("page", PAGES, ids=where)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_docs_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert [page for page in sorted(pages) if f"({page})" not in index] == []


def test_every_dependency_is_pinned_without_a_local_suffix() -> None:
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    pinned = {normal(name) for name, _ in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {normal(re.split(r"[\[<>=~! ]", requirement)[0]) for requirement in asked}
    assert names - pinned == set()
    assert [version for _, version in pins if "+" in version] == []


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_public_python_is_load_alone() -> None:
    assert collapse_ray.__all__ == ["load"]
    assert callable(collapse_ray.load)
    with pytest.raises(AttributeError, match="no attribute 'lead'"):
        collapse_ray.lead  # noqa: B018


def test_importing_the_package_imports_no_layer() -> None:
    script = (
        "import sys, collapse_ray; print(*sorted(name for name in sys.modules if name.startswith('collapse_ray.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
