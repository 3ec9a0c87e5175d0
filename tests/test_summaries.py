import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BucketFull, InvalidEvent
from django_jsonbuffer.summaries import (
    LONGEST_LOGGED_TRACEBACK,
    is_ours,
    looks_like,
    message_of,
    place_of,
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


class TestLikeness:
    @pytest.mark.parametrize(
        ("one", "other", "is_alike"),
        [
            ("KeyError: 'path'", "KeyError: 'name'", True),
            ("ValueError: no event 17", "ValueError: no event 4", True),
            ("ValueError: no event 3fa9-e1b2", "ValueError: no event ccd0-12ab", True),
            ("Error7: no", "Error8: no", True),
            ("ValueError: 1422 or item-503", "ValueError: 1423 or item-504", True),
            ("OSError: took 0.412 s", "OSError: took 0.487 s", True),
            ("ClientError: 422, message='no'", "ClientError: 503, message='no'", False),
            ("ValueError: no event 17", "KeyError: no event 17", False),
            ("Down4: no", "Busy4: no", False),
            ("OSError: 422 no customer", "OSError: 503 not now", False),
            ("OSError", "OSError: 503 not now", False),
            ("", "OSError", False),
        ],
    )
    def test_is_in_all_but_ids_and_quotes(self, one: str, other: str, is_alike: bool) -> None:
        assert looks_like(one, other) == looks_like(other, one) == is_alike


class TestSummary:
    def test_has_class_and_message(self) -> None:
        assert summary_of(ValueError("no room"), with_message=True) == "ValueError: no room"

    def test_may_do_without_the_message(self) -> None:
        assert summary_of(ValueError("of a secret"), with_message=False) == "ValueError"

    @pytest.mark.parametrize("error", [ValueError(), Mute()])
    def test_of_an_error_without_a_message_is_its_class(self, error: Exception) -> None:
        assert message_of(error) == ""
        assert summary_of(error, with_message=True) == type(error).__name__

    def test_is_one_line_of_limited_length(self) -> None:
        text = summary_of(ValueError("a\nb\t" + "x" * 10_000), with_message=True)
        assert text.startswith("ValueError: a b x")
        assert text.endswith("x…")
        assert len(text) < 400

    def test_can_be_shown_and_stored_whatever_the_message_is(self) -> None:
        text = summary_of(ValueError("\udcff \x1b[2J \u202e é"), with_message=True)
        assert text == "ValueError: \\udcff \\x1b[2J \\u202e é"


class TestPlace:
    def test_is_file_and_line(self) -> None:
        path, _, line = place_of(raised(ValueError("of a secret"))).rpartition(":")
        assert path == __file__
        assert line.isdecimal()

    def test_of_an_error_that_nobody_raised_is_unknown(self) -> None:
        assert place_of(ValueError()) == "an unknown place"
        assert places_of(ValueError(), with_source=True) == ""


class TestPlaces:
    def test_are_files_and_lines_without_the_message(self) -> None:
        places = places_of(raised(ValueError("of a secret")), with_source=True)
        assert f'"{__file__}"' in places
        assert "in sink" in places
        assert "raise error" in places
        assert "secret" not in places

    def test_may_do_without_the_source_code(self) -> None:
        with pytest.raises(ValueError, match="secret") as caught:
            raise ValueError("a secret")
        places = places_of(caught.value, with_source=False)
        assert places.startswith(f'  File "{__file__}", line ')
        assert "secret" not in places
        assert "\n" not in places

    def test_of_a_deep_error_are_those_at_its_end(self) -> None:
        places = places_of(raised(ValueError("no"), depth=150), with_source=True)
        assert len(places) == LONGEST_LOGGED_TRACEBACK
        assert places.endswith("raise error")


class TestOurs:
    def test_are_the_errors_that_this_app_raised(self) -> None:
        with pytest.raises(InvalidEvent) as caught:
            Bucket("orders").append({"a set"})
        assert is_ours(caught.value)

    def test_are_not_those_that_other_code_raised(self) -> None:
        assert not is_ours(raised(BucketFull("of a secret")))
        assert not is_ours(BucketFull("never raised"))

    def test_are_not_those_of_another_class(self) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            Bucket("orders", schema=lambda event: 1 / 0)._definition.parts.options.schema(1)  # type: ignore[misc]
        assert not is_ours(caught.value)
