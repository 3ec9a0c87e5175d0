"""How the modules of the package may depend on each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import django_jsonbuffer
from django_jsonbuffer import Bucket

ROOT = Path(django_jsonbuffer.__file__).parent
PACKAGE = ROOT.name


def module_name(path: Path) -> str:
    parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imported_names(module: str) -> Iterator[str]:
    """Dotted names of all imports: also those in functions and for the type checker alone."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = [*parents, node.module or ""] if node.level else [node.module or ""]
            yield from (".".join(filter(None, [*origin, alias.name])) for alias in node.names)


def imported_modules(module: str) -> set[str]:
    """Modules of the package. A name of a module stands for that module."""
    found = set()
    for name in imported_names(module):
        target = name if name in MODULES else name.rpartition(".")[0]
        if target in MODULES:
            found.add(target)
    return found - {module}


def room(module: str) -> str:
    """The folder or the single module directly in the package, or in ``contrib``."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:2] == ["contrib"] else 2])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The members of a circle, and those that depend on one. Empty if there is none."""
    remaining = {name: set(uses) for name, uses in graph.items()}
    while free := [name for name, uses in remaining.items() if not uses & remaining.keys()]:
        for name in free:
            del remaining[name]
    return sorted(remaining)


def test_no_import_is_circular() -> None:
    assert circle({module: imported_modules(module) for module in MODULES}) == []


def test_no_rooms_depend_on_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        if module != PACKAGE:
            uses = {room(used) for used in imported_modules(module)} - {PACKAGE, room(module)}
            graph.setdefault(room(module), set()).update(uses)
    assert circle(graph) == []


def test_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]


def test_options_do_not_know_redis() -> None:
    known = {f"{PACKAGE}.{name}" for name in ("exceptions", "limits", "suggestions")}
    assert imported_modules(f"{PACKAGE}.options") == known
    assert (
        imported_modules(f"{PACKAGE}.limits") == imported_modules(f"{PACKAGE}.suggestions") == set()
    )


def test_admin_and_commands_reach_redis_through_bucket_and_catalog_only() -> None:
    """Types and names may come from the store; a Store, a client or a script may not."""
    forbidden = {f"{PACKAGE}.store.{name}" for name in ("store", "clients", "scripts", "pending")}
    for module in MODULES:
        if room(module) in (f"{PACKAGE}.admin", f"{PACKAGE}.management", f"{PACKAGE}.states"):
            assert not imported_modules(module) & forbidden, module


def test_django_redis_is_known_in_two_places() -> None:
    knowing = {m for m in MODULES for name in imported_names(m) if name.startswith("django_redis")}
    assert knowing == {f"{PACKAGE}.store.clients", f"{PACKAGE}.contrib.cluster"}


def test_bucket_has_only_its_documented_names() -> None:
    assert {name for name in dir(Bucket) if not name.startswith("_")} == {
        *("name", "key", "append", "extend", "aappend", "aextend"),
        *("record", "unrecord", "record_bulk", "hook", "processor", "drain", "drain_steps"),
        *("status", "peek", "take", "purge", "pause", "resume", "dead"),
        *("adrain", "astatus", "apeek", "atake", "apurge", "apause", "aresume"),
    }
