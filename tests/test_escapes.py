import pytest

from django_jsonbuffer.escapes import escape_invisible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, café €", "plain, café €"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\x85b\x7fc", "a\\x85b\\x7fc"),
        ("half \udce9", "half \\udce9"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_escapes_characters_that_a_terminal_obeys(text: str, shown: str) -> None:
    assert escape_invisible(text) == shown


def test_keeps_those_that_the_caller_wants() -> None:
    assert escape_invisible("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
