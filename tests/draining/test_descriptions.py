from django_jsonbuffer.draining.descriptions import LONGEST_TRACEBACK, described
from tests.test_summaries import raised


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
