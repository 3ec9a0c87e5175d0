from datetime import timedelta

import pytest
from django.utils import translation

from django_jsonbuffer import Bucket
from django_jsonbuffer.figures import Age, Figures, format_number


class TestFigures:
    def test_of_several_buckets_are_added_up(self) -> None:
        Bucket("orders").extend(range(1000))
        Bucket("views").extend(range(500))
        Bucket("views").pause()
        figures = Figures.of(Bucket("orders").status(), Bucket("views").status())
        assert (figures.pending, figures.appended, figures.batches) == ("1,500", "1,500", "2")
        assert figures.appended_per_minute == ""

    def test_of_no_bucket_are_nothing(self) -> None:
        figures = Figures.of()
        assert (figures.pending, figures.oldest, figures.dropped) == ("0", None, "0")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.04, "0"), (2.0, "2"), (2.26, "2.3"), (99.96, "100"), (1234.6, "1,235")],
)
def test_rate_is_as_exact_as_it_matters(number: float, text: str) -> None:
    assert format_number(number) == text


class TestAge:
    @pytest.mark.parametrize(
        ("duration", "words"),
        [
            (timedelta(0), "0 seconds"),
            (timedelta(seconds=1.9), "1 second"),
            (timedelta(seconds=59.9), "59 seconds"),
            (timedelta(seconds=60), "1 minute"),
            (timedelta(hours=2, minutes=5, seconds=30), "2 hours, 5 minutes"),
            (timedelta(days=3, seconds=1), "3 days"),
        ],
    )
    def test_is_described_in_words(self, duration: timedelta, words: str) -> None:
        assert Age.of(duration).words.replace("\xa0", " ") == words

    def test_is_described_in_words_even_when_no_date_lies_so_far_back(self) -> None:
        assert Age.of(timedelta.max).words.startswith("999\xa0years")

    def test_is_exact_in_seconds_too(self) -> None:
        age = Age.of(timedelta(hours=1, milliseconds=5))
        assert (age.exact, age.attribute) == ("3,600.005 seconds", "PT3600.005S")

    def test_attribute_is_the_same_in_every_language(self) -> None:
        with translation.override("de"):
            assert Age.of(timedelta(milliseconds=1500)).attribute == "PT1.500S"
