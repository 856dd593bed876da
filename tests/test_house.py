"""The house: which folder may import which, no circles, nothing too long; CONTRIBUTING.md tells what each is for."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import svdsweep

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "svdsweep"
FLOORS = (
    {"errors"},
    {"config", "platforms"},
    {"store"},
    {"backends", "images", "terminal"},
    {"models", "memory", "probes", "metrics"},
    {"predict"},
    {"worker", "analysis"},
    {"grid", "runner", "report"},
    {"search"},
    {"commands"},
    {"cli"},
    {"", "__main__"},
)
"""From the ground up: a folder imports from floors below its own."""
LOOSE = {"__init__", "__main__", "cli", "errors", "terminal"}
LINES, FUNCTION_LINES, BRANCHES = 300, 50, 12
PATHS = sorted(PACKAGE.rglob("*.py"))
OURS = [path for path in PATHS if "tiny" not in path.parts]
"""The training program of the embedded model is a laboratory of its own."""


def module_of(path: Path) -> str:
    """`svdsweep.store.rows`; a folder's `__init__` is the folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in PATHS}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules of svdsweep that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "svdsweep":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports of svdsweep."""
    return {name: {m for m in imports(tree_of(path)) if m != name} for name, path in MODULES.items()}


def folder_of(module: str) -> str:
    """The folder, or the loose module, that a module is in; empty for the package's own face."""
    return module.partition(".")[2].partition(".")[0]


def floor_of(module: str) -> int:
    return next(i for i, folders in enumerate(FLOORS) if folder_of(module) in folders)


def circle(imported: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as e:
        return list(e.args[1])
    return []


def test_every_module_is_in_a_folder_that_the_house_has():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    known = set().union(*FLOORS)
    assert {folder_of(module) for module in MODULES} <= known


def test_no_two_files_import_each_other():
    assert not circle(graph())


def test_no_two_folders_import_each_other():
    folders: dict[str, set[str]] = {}
    for module, imported in graph().items():
        here = folder_of(module)
        folders.setdefault(here, set()).update(folder_of(m) for m in imported if folder_of(m) != here)
    assert not circle(folders)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    upwards = [
        m for m in graph()[module] if folder_of(m) != folder_of(module) and floor_of(m) >= floor_of(module)
    ]
    assert not upwards


def test_config_needs_nothing_but_omegaconf():
    imported: set[str] = set()
    for path in (PACKAGE / "config").glob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert imported <= {*sys.stdlib_module_names, "omegaconf", "svdsweep"}


def test_no_module_holds_two_things():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert not [str(path) for path, n in lines.items() if n > LINES]


def is_in_the_locales_encoding(call: ast.Call) -> bool:
    """Whether it reads or writes text as the machine happens to: `open`, `read_text`, `text=True` and their like."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    # the mode is the second argument of the built-in `open` and the first of a path's; that of a picture takes a file
    mode = call.args[isinstance(call.func, ast.Name) :][:1]
    is_text = not mode or (isinstance(mode[0], ast.Constant) and set(str(mode[0].value)) <= set("rwax+t"))
    given = {word.arg for word in call.keywords}
    reads = (name == "open" and is_text) or name in ("read_text", "write_text") or "text" in given
    return reads and "encoding" not in given


def test_text_is_utf_8_on_every_machine():
    sources = {p: p.read_text(encoding="utf-8") for top in (PACKAGE, TESTS) for p in top.rglob("*.py")}
    bare = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
        for path, source in sources.items()
        if re.search(r"(\bopen|_text)\((?!.*encoding)|\btext=", source)  # parsing all takes a second
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and is_in_the_locales_encoding(node)
    ]
    assert not bare, 'give encoding="utf-8"'


def test_files_have_the_same_line_ends_on_every_machine():
    asked = {"write_text": "newline", "to_csv": "lineterminator"}
    bare = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
        for path in PATHS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in asked
        if asked[node.func.attr] not in {word.arg for word in node.keywords}
    ]
    assert not bare, 'give newline="\\n", or lineterminator="\\n"'


PLATFORM_WORDS = re.compile(
    r"killpg|pass_fds|start_new_session|creationflags|preexec|SIG(KILL|TERM|HUP|USR|BREAK|CHLD|STOP|CONT|ALRM)"
    r"|/proc\b|affinity|cpu_count\(\)|os\.(fork|kill|name|uname|getpgid|setsid|getuid|replace)\b|sys\.platform"
    r"|import (fcntl|resource|termios|pwd|grp|msvcrt|winreg|_winapi)\b"
)
"""What one operating system has and another has not."""


def test_only_the_folder_of_platforms_knows_the_operating_system():
    told = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line.strip()}"
        for path in OURS
        if "platforms" not in path.parts[:-1]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PLATFORM_WORDS.search(line)
    ]
    assert not told, "ask svdsweep.platforms"


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in OURS:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(PACKAGE)}:{node.name}", node


DECISIONS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def branches(function: ast.AST) -> int:
    """Decisions in a function, those of functions inside it left out: if, loops, cases, handlers, conditions of
    comprehensions and each `and` and `or`."""
    count = 0
    stack = list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, DECISIONS):
            count += 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        stack.extend(ast.iter_child_nodes(node))
    return count


def test_no_function_is_longer_than_a_screen():
    long = {name: n for name, f in functions() if (n := (f.end_lineno or 0) - f.lineno + 1) > FUNCTION_LINES}
    assert not long


def test_no_function_has_more_branches_than_one_remembers():
    crooked = {name: n for name, f in functions() if (n := branches(f)) > BRANCHES}
    assert not crooked


def test_the_tests_and_what_they_start_use_the_tree_that_they_lie_in(tmp_path):
    assert Path(svdsweep.__file__).parent == PACKAGE
    code = "from importlib.util import find_spec; print(find_spec('svdsweep').origin)"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert Path(told.stdout.strip()).parent == PACKAGE
