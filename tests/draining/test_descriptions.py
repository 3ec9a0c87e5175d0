import pytest

from django_jsonbuffer.draining.descriptions import (
    LONGEST_LOGGED_TRACEBACK,
    LONGEST_TRACEBACK,
    described,
    has_kind,
    places_of,
    summary_of,
)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


def raised(error: BaseException, depth: int = 0) -> BaseException:
    def sink(left: int) -> None:
        if left:
            float_up(left - 1)
        raise error

    def float_up(left: int) -> None:
        sink(left)

    with pytest.raises(type(error)) as caught:
        sink(depth)
    return caught.value


class TestSummary:
    def test_has_class_and_message(self) -> None:
        assert summary_of(ValueError("no room"), with_message=True) == "ValueError: no room"

    def test_may_do_without_the_message(self) -> None:
        assert summary_of(ValueError("of a secret"), with_message=False) == "ValueError"

    @pytest.mark.parametrize("error", [ValueError(), Mute()])
    def test_of_an_error_without_a_message_is_its_class(self, error: Exception) -> None:
        assert summary_of(error, with_message=True) == type(error).__name__

    def test_is_one_line_of_limited_length(self) -> None:
        text = summary_of(ValueError("a\nb\t" + "x" * 10_000), with_message=True)
        assert text.startswith("ValueError: a b x")
        assert len(text) < 400

    def test_can_be_stored_whatever_the_message_is(self) -> None:
        assert summary_of(ValueError("\udcff"), with_message=True) == "ValueError: \\udcff"

    def test_is_of_a_class_or_not(self) -> None:
        assert has_kind("ValueError: no room", ValueError("another"))
        assert has_kind("ValueError", ValueError())
        assert not has_kind("ValueError: no room", OSError("no room"))


class TestPlaces:
    def test_are_files_and_lines_without_the_message(self) -> None:
        places = places_of(raised(ValueError("of a secret")))
        assert f'"{__file__}"' in places
        assert "in sink" in places
        assert "secret" not in places

    def test_of_a_deep_error_are_those_at_its_end(self) -> None:
        places = places_of(raised(ValueError("no"), depth=150))
        assert len(places) == LONGEST_LOGGED_TRACEBACK
        assert places.endswith("raise error")


class TestDescription:
    def test_of_a_text_has_no_traceback(self) -> None:
        assert described("no such customer") == ("no such customer", "")

    def test_of_an_exception_has_both(self) -> None:
        error, traceback = described(raised(ValueError("no room")))
        assert error == "ValueError: no room"
        assert "in sink" in traceback

    def test_is_of_limited_length_after_it_can_be_stored(self) -> None:
        error, traceback = described(raised(ValueError("\udcff" * LONGEST_TRACEBACK)))
        assert "\\udcff" in error
        assert len(traceback) == LONGEST_TRACEBACK
