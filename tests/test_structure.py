"""The package's structure: no circles, small functions, small classes, a small scheduler.

A function or class that is larger on purpose stands in a table below, with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

from orchestrator.planning.stage_facts import STAGE_FACTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "orchestrator"
MAX_FUNCTION = 60
MAX_ATTRIBUTES = 15
MAX_SCHEDULING = 4500

# Functions that are longer, by the reason why they stay whole.
LONG_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "one argument of the command line after the other": (),
    "the description of one chart": (
        "orchestrator.reporting.html.accuracy.accuracy_latency",
        "orchestrator.reporting.html.accuracy.differences",
        "orchestrator.reporting.html.fleet._drawn",
        "orchestrator.reporting.html.times.over_seconds",
    ),
    "its documented arguments are most of it": (
        "orchestrator.fleet.session.client.measure",
        "orchestrator.scoring.searching.search",
    ),
    "one check after the other, each on what the one before read": (
        "orchestrator.preflight.as_given._looked_at",
        "orchestrator.specs.references.check_references",
    ),
    "one drawing, whose order of random numbers decides its pixels": (
        "orchestrator.images.face._add_features",
        "orchestrator.images.face._project",
        "orchestrator.images.face.shape_faces",
    ),
    "one case after the other": (
        "orchestrator.fleet.boards.addressing.address_of",
        "orchestrator.images.refusing.refuse",
        "orchestrator.store.fleet_log.fold",
    ),
    "from its first step to its last, with what each undoes": (
        "orchestrator.fleet.boards.board.connect",
        "orchestrator.fleet.boards.deploying.deploy",
        "orchestrator.fleet.emulated.server._run_command",
        "orchestrator.store.artifacts.commit",
    ),
    "passes over the same arrays": ("orchestrator.calibration.calibrate.calibrate",),
    "one change after the other, in the order that they need": (
        "orchestrator.intake.normalizing._normalize",
        "orchestrator.planning.building._artifact",
    ),
}

# Classes with more attributes than MAX_ATTRIBUTES that are no plain data, by the reason.
LARGE_CLASSES: Mapping[str, tuple[str, ...]] = {
    "handles of one C library, freed in one order": ("agents.runtimes.trt.bindings.Runtime",),
    "one child process with its pipes, which end together": (
        "orchestrator.fleet.transport.local.LocalChannel",
    ),
    "one poll loop over two pipes, whose every turn looks at nearly all of it": (
        "agents.session.session.Session",
    ),
}

# Who may read farm's version. It is said and kept beside results; no key may depend on it.
MAY_READ_VERSION = {
    "orchestrator.aligning.photos": "provenance.json of aligned photos",
    "orchestrator": "farm.__version__",
    "orchestrator.cli.main": "farm --version",
    "orchestrator.reporting.export.files": "results.json",
    "orchestrator.reporting.html.report": "the report's last line",
    "orchestrator.serving.app": "the last line of each page",
    "orchestrator.serving.remote": "what a client asks first",
    "orchestrator.stages.work": "provenance of what is committed to the store",
    "orchestrator.driving.session": "the first event of a run",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Each module by its dotted name; the agent's under `agents`, as on a board."""
    found = {}
    for folder in (PACKAGE, ROOT / "agents"):
        for path in sorted(folder.rglob("*.py")):
            if (PACKAGE / "agents") in path.parents:
                continue  # a link to agents/
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """All of a module's syntax."""
    return tuple(ast.walk(modules()[name]))


def imported(name: str) -> set[str]:
    """Modules that a module imports anywhere, under TYPE_CHECKING and within functions too."""
    found: set[str] = set()
    for node in nodes(name):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else node.module)
    return {each for each in found if each in modules() and each != name}


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules of which each can be reached from each other (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(imports):
        if name not in number:
            visit(name)
    return found


def test_no_circle_between_files() -> None:
    imports = {name: imported(name) for name in modules()}
    assert circles(imports) == []


def test_circles_are_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}
    assert circles(imports) == [["a", "b", "c"]]


def functions() -> Iterator[tuple[str, int]]:
    """Each function's dotted name and how many lines it has."""
    for module in modules():
        for node in nodes(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                yield f"{module}.{node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_long_without_a_reason() -> None:
    long = {name: lines for name, lines in functions() if lines > MAX_FUNCTION}
    known = set(chain(*LONG_FUNCTIONS.values()))
    without = {name: lines for name, lines in long.items() if name not in known}
    assert without == {}, "split them, or say in LONG_FUNCTIONS why they stay whole"
    assert sorted(known - set(long)) == [], "they are short now: take them out"


def attributes(node: ast.ClassDef) -> set[str]:
    """Names that a class annotates, or that its methods give to `self`."""
    found = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for each in ast.walk(node):
        if (
            isinstance(each, ast.Attribute)
            and isinstance(each.ctx, ast.Store)
            and isinstance(each.value, ast.Name)
            and each.value.id == "self"
        ):
            found.add(each.attr)
    return found


def is_plain_data(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or one of pydantic's models."""
    data = ("BaseModel", "Spec", "FileSpec", "Part", "Base", "_Line")
    decorated = any("dataclass" in ast.unparse(each) for each in node.decorator_list)
    return decorated or any(ast.unparse(base) in data for base in node.bases)


def test_no_class_is_large_without_a_reason() -> None:
    large = {
        f"{module}.{node.name}": len(attributes(node))
        for module in modules()
        for node in nodes(module)
        if isinstance(node, ast.ClassDef)
        and not is_plain_data(node)
        and len(attributes(node)) > MAX_ATTRIBUTES
    }
    known = set(chain(*LARGE_CLASSES.values()))
    without = {name: count for name, count in large.items() if name not in known}
    assert without == {}, "split them, or say in LARGE_CLASSES why they stay whole"
    assert sorted(known - set(large)) == [], "they are small now: take them out"


def test_the_scheduler_stays_small() -> None:
    files = (PACKAGE / "scheduling").rglob("*.py")
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in files)
    assert lines <= MAX_SCHEDULING


VAGUE = {"made", "kept", "told", "mended"}
VAGUE_CALLS = VAGUE | {"tell", "hear", "news", "telling"}
PUBLIC = {
    ("orchestrator.api", "kept"): "a call of the library",
    ("orchestrator.diagnosis.explain", "kept"): "a field of `farm explain --json`",
}


def test_no_name_is_a_verb_that_says_nothing() -> None:
    """`docs/reference/glossary.md`: a variable and what returns something are named after the
    thing, what does something by a verb that says what."""
    named = []
    for module in modules():
        for node in nodes(module):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    vague = VAGUE_CALLS
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    vague = VAGUE
                case ast.arg(arg=name) | ast.alias(asname=str(name)):
                    vague = VAGUE
                case _:
                    continue
            if name.strip("_").lower() in vague and (module, name) not in PUBLIC:
                named.append(f"{module}:{node.lineno}: {name}")
    assert named == [], "name each after the thing that it is"


def test_the_scheduler_names_no_stage() -> None:
    """What it must know of one stands in `planning/stage_facts.py`: a new stage changes no file."""
    named = [
        f"{name}:{node.lineno}: {node.value}"
        for name in modules()
        if name.startswith("orchestrator.scheduling")
        for node in nodes(name)
        if isinstance(node, ast.Constant) and node.value in STAGE_FACTS
    ]
    assert named == []


def test_no_key_depends_on_the_version() -> None:
    """A store of an earlier version counts as cached: only these modules know the version."""
    readers = {
        name
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.ImportFrom)
        and any(alias.name == "__version__" for alias in node.names)
    }
    assert readers == set(MAY_READ_VERSION)
