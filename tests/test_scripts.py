import re
from pathlib import Path

import pytest

import django_jsonbuffer
from django_jsonbuffer import store

FOLDER = Path(django_jsonbuffer.__file__).parent / "scripts"
OPERATIONS = sorted(value.name for value in vars(store).values() if isinstance(value, store.Script))
SHARED = sorted({path.stem for path in FOLDER.glob("*.lua")} - set(OPERATIONS))


def parts(name: str) -> tuple[str, str]:
    """The header, without its comment signs, and the body."""
    lines = (FOLDER / f"{name}.lua").read_text().splitlines()
    header_length = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    header = "\n".join(line.removeprefix("--").strip() for line in lines[:header_length])
    return header, "\n".join(lines[header_length:])


def without_comments(body: str) -> str:
    return re.sub(r"--.*", "", body)


@pytest.mark.parametrize("name", OPERATIONS)
class TestOperation:
    def test_header_has_its_five_parts_in_order(self, name: str) -> None:
        header, _ = parts(name)
        what, why, *rest = header.split("\n\n")
        assert what.endswith(".")
        assert why.startswith("Atomic so that")
        assert rest[0].startswith("KEYS[1]")
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


@pytest.mark.parametrize("name", OPERATIONS + SHARED)
class TestFile:
    def test_uses_nothing_that_is_slow_or_changes_events(self, name: str) -> None:
        _, body = parts(name)
        forbidden = r"\bcjson\b|'KEYS'|'SCAN'|\bunpack\b|loadstring"
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
            "producer",
            "history",
            "paused",
        }
        keyless = {"TIME"}
        subcommands = {"XGROUP", "XINFO"}
        body = without_comments(body)
        # XREADGROUP names its keys behind STREAMS.
        body = re.sub(r"'XREADGROUP'.*?'STREAMS',", "'XREADGROUP',", body, flags=re.DOTALL)
        for command, rest in re.findall(r"redis\.p?call\('(\w+)'(.*?)[)\n]", body):
            if command in keyless:
                continue
            first = rest.split(",")[2 if command in subcommands else 1]
            assert first.strip(" )") in keys, f"{command}{rest}"


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_says_what_it_is(name: str) -> None:
    header, body = parts(name)
    assert header.startswith("Shared: ")
    assert "KEYS[" not in body
    assert "ARGV[" not in body
