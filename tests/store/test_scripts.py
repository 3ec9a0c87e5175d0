import re
from pathlib import Path

import pytest

import django_jsonbuffer
from django_jsonbuffer.store import script_files, scripts
from django_jsonbuffer.store.script_files import MAY_BE_REFUSED, assemble
from django_jsonbuffer.store.scripts import Script

FOLDER = Path(django_jsonbuffer.__file__).parent / "scripts"
SCRIPTS = {value.name: value for value in vars(scripts).values() if isinstance(value, Script)}
OPERATIONS = sorted(SCRIPTS)
SHARED = sorted(f"shared/{path.stem}" for path in FOLDER.glob("shared/*.lua"))

NEEDS = re.compile(r"^-- @needs (.+)$", re.MULTILINE)
TOP_LEVEL = re.compile(r"^local (?:function )?([^=(\n]+)", re.MULTILINE)


def read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text()


def parts(name: str) -> tuple[str, str]:
    """The header, without its comment signs, and the body."""
    lines = read(name).splitlines()
    header_length = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    header = "\n".join(line.removeprefix("--").strip() for line in lines[:header_length])
    return header, "\n".join(lines[header_length:])


def without_comments(body: str) -> str:
    return re.sub(r"--.*", "", body)


def needs(name: str) -> list[str]:
    return [f"shared/{need}" for line in NEEDS.findall(read(name)) for need in line.split()]


def defined(name: str) -> set[str]:
    """The names of a file that the text behind it can use."""
    declarations = TOP_LEVEL.findall(without_comments(read(name)))
    return {each for declaration in declarations for each in re.findall(r"\w+", declaration)}


def used(text: str) -> list[str]:
    """The names in a text, without those in comments and strings, and behind a dot."""
    code = re.sub(r"'[^'\n]*'", "''", without_comments(text))
    return re.findall(r"(?<![\w.])[a-zA-Z_]\w*", code)


@pytest.mark.parametrize("name", OPERATIONS)
class TestOperation:
    def test_header_has_its_five_parts_in_order(self, name: str) -> None:
        header, _ = parts(name)
        what, why, *rest = header.split("\n\n")
        assert what.endswith(".")
        assert why.startswith("Atomic so that")
        assert rest[0].startswith(("KEYS[1]", "KEYS[1…]"))
        assert rest[-1].startswith("Returns ")

    def test_header_names_what_the_body_reads(self, name: str) -> None:
        header, body = parts(name)
        for kind in ("KEYS", "ARGV"):
            declared = [int(n) for n in re.findall(rf"^{kind}\[(\d+)…?\]", header, re.MULTILINE)]
            read = {int(n) for n in re.findall(rf"{kind}\[(\d+)\]", body)}
            read |= {int(n) for n in re.findall(rf"local FIRST_{kind} = (\d+)", body)}
            assert declared == list(range(1, len(declared) + 1))
            assert read == set(declared)

    def test_body_gives_each_a_name_first(self, name: str) -> None:
        _, body = parts(name)
        for line in without_comments(body).splitlines():
            if re.search(r"(KEYS|ARGV)\[\d+\]", line):
                assert line.startswith("local ")

    def test_declared_names_are_those_of_the_body(self, name: str) -> None:
        header, body = parts(name)
        for declared in re.findall(r"^(?:KEYS|ARGV)\[\d+\]\s+(\w+)", header, re.MULTILINE):
            assert re.search(rf"\b{declared}\b", body)

    def test_ships_each_shared_file_once_at_the_most(self, name: str) -> None:
        header_lines = [read(shared).splitlines()[0] for shared in SHARED]
        shipped = SCRIPTS[name].source.splitlines()
        assert len(set(header_lines)) == len(SHARED)
        assert all(shipped.count(line) <= 1 for line in header_lines)

    def test_ships_no_function_that_it_does_not_use(self, name: str) -> None:
        source = SCRIPTS[name].source
        functions = re.findall(r"^local function (\w+)", source, re.MULTILINE)
        unused = [function for function in functions if used(source).count(function) < 2]
        assert unused == []

    def test_has_no_more_locals_than_lua_allows(self, name: str) -> None:
        source = without_comments(SCRIPTS[name].source)
        names = [each for names in TOP_LEVEL.findall(source) for each in names.split(",")]
        assert len(names) <= 150

    def test_that_writes_checks_the_permissions_for_all_its_commands(self, name: str) -> None:
        header, body = parts(name)
        assert ("missing_permission(" in body) == ("Writes nothing." not in header)
        called = {*re.findall(r"redis\.p?call\(\s*'(\w+)'", SCRIPTS[name].source)}
        checked = {*re.findall(r"not may_run\('(\w+)'", SCRIPTS[name].source)}
        assert checked - MAY_BE_REFUSED == (
            called - MAY_BE_REFUSED if "missing_permission(" in body else set()
        )

    def test_is_read_at_import(self, name: str) -> None:
        assert {"source", "sha"} <= vars(SCRIPTS[name]).keys()


def test_each_file_of_an_operation_is_a_script() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.lua")) == OPERATIONS


def test_renew_ships_little() -> None:
    assert len(scripts.RENEW.source.encode()) < 5000


def test_status_numbers_its_results() -> None:
    header, _ = parts("status")
    numbers = [int(number) for number in re.findall(r"^(\d+)  ", header, re.MULTILINE)]
    [shape] = (each for each in scripts.STATUS.replies if isinstance(each, tuple) and len(each) > 1)
    assert numbers == [*range(1, len(shape) + 1)]
    assert f"Returns {len(shape)} values" in header


@pytest.mark.parametrize("name", OPERATIONS + SHARED)
class TestFile:
    def test_uses_nothing_that_is_slow_or_changes_events(self, name: str) -> None:
        _, body = parts(name)
        forbidden = r"\bcjson\b|'KEYS'|'SCAN'|(?<!struct\.)\bunpack\b|loadstring"
        assert not re.search(forbidden, without_comments(body))

    def test_touches_only_keys_that_it_was_given(self, name: str) -> None:
        _, body = parts(name)
        keys = {
            "open",
            "batches",
            "dead",
            "stats",
            "attempts",
            "workers",
            "appends",
            "old",
            "earlier",
            "history",
            "paused",
            "registry",
        }
        keyless = {"INFO", "TIME", "PUBLISH"}
        subcommands = {"XGROUP", "XINFO"}
        body = without_comments(body)
        # XREADGROUP names its keys behind STREAMS.
        body = re.sub(r"'XREADGROUP'.*?'STREAMS',", "'XREADGROUP',", body, flags=re.DOTALL)
        for command, rest in re.findall(r"redis\.p?call\('(\w+)'(.*?)[)\n]", body):
            if command in keyless:
                continue
            first = rest.split(",")[2 if command in subcommands else 1]
            assert first.strip(" )") in keys, f"{command}{rest}"

    def test_names_the_files_that_it_uses_and_no_others(self, name: str) -> None:
        names = set(used(read(name)))
        assert sorted(needs(name)) == [
            shared for shared in SHARED if shared != name and names & defined(shared)
        ]


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_says_what_it_is(name: str) -> None:
    header, body = parts(name)
    assert header.startswith("Shared: ")
    assert "KEYS[" not in body
    assert "ARGV[" not in body


def test_shared_files_share_no_name() -> None:
    names = [each for shared in SHARED for each in defined(shared)]
    assert len(set(names)) == len(names)


class TestNeeds:
    @pytest.fixture
    def files(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        files: dict[str, str] = {}

        def read_file(file: str) -> str:
            try:
                return files[file]
            except KeyError:
                raise FileNotFoundError(file) from None

        monkeypatch.setattr(script_files, "read_file", read_file)
        return files

    def test_replace_the_line_each_behind_its_own(self, files: dict[str, str]) -> None:
        files["go.lua"] = "-- Go.\n-- @needs b c\ngo()\n"
        files["shared/a.lua"] = "a()\n"
        files["shared/b.lua"] = "-- @needs a\nb()\n"
        files["shared/c.lua"] = "-- @needs b a\nc()\n"
        assert assemble("go").split() == ["--", "Go.", "a()", "b()", "c()", "go()"]

    def test_of_a_later_line_leave_out_what_stands_above(self, files: dict[str, str]) -> None:
        files["go.lua"] = "-- @needs a\nfirst()\n-- @needs b\nsecond()\n"
        files["shared/a.lua"] = "a()\n"
        files["shared/b.lua"] = "-- @needs a\nb()\n"
        assert assemble("go").split() == ["a()", "first()", "b()", "second()"]

    def test_of_a_missing_file(self, files: dict[str, str]) -> None:
        files["go.lua"] = "-- @needs a\n"
        files["shared/a.lua"] = "-- @needs b\n"
        with pytest.raises(ValueError, match=r"missing: go.lua → shared/a.lua → shared/b.lua\."):
            assemble("go")

    def test_of_an_operation_that_is_missing(self, files: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"missing: go.lua\."):
            assemble("go")

    @pytest.mark.parametrize("last", ["a", "b", "c"])
    def test_in_a_circle(self, files: dict[str, str], last: str) -> None:
        files["go.lua"] = "-- @needs a\n"
        files["shared/a.lua"] = "-- @needs b\n"
        files["shared/b.lua"] = "-- @needs c\n"
        files["shared/c.lua"] = f"-- @needs {last}\n"
        with pytest.raises(ValueError, match=rf"circle: .* → shared/{last}\.lua\."):
            assemble("go")

    @pytest.mark.parametrize("name", SHARED)
    def test_of_the_shared_files_have_no_circle(self, name: str) -> None:
        reached, ahead = set[str](), needs(name)
        while ahead:
            need = ahead.pop()
            ahead += [] if need in reached else needs(need)
            reached.add(need)
        assert name not in reached
