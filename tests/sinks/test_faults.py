from typing import Any

import pytest
from django.core.checks import Error

from django_jsonbuffer import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.faults import (
    fault,
    faults_of_inner,
    missing_extra,
    refuse_faulty,
)


class TestMissingExtra:
    def test_is_reported(self) -> None:
        [message] = missing_extra("Mail", "nonexistent")
        assert (message.id, message.msg) == (
            "django_jsonbuffer.E017",
            "Mail needs nonexistent, which is not installed.",
        )
        assert message.hint == "Run: pip install 'django-jsonbuffer[nonexistent]'"

    def test_is_not_reported_if_it_is_installed(self) -> None:
        assert not [*missing_extra("Post", "httpx")]


class TestRefuseFaulty:
    def test_raises_the_first_fault_with_its_hint(self) -> None:
        faults = [fault("It is wrong.", hint="Write it right."), Error("another")]
        with pytest.raises(BufferMisconfigured, match=r"^It is wrong\. Write it right\.$"):
            refuse_faulty(faults)

    def test_raises_nothing_without_a_fault(self) -> None:
        refuse_faulty([])


class TestFaultsOfInner:
    def test_generator_functions_and_values_cannot_be_processors(self) -> None:
        def generator(batch: Batch) -> Any:
            yield 1

        async def asynchronous(batch: Batch) -> None: ...

        async def asynchronous_generator(batch: Batch) -> Any:
            yield 1

        processors = [print, generator, asynchronous, asynchronous_generator, None]
        messages = [message.msg for message in faults_of_inner("Tee", processors)]
        assert ["generator function" in message for message in messages] == [True, True, False]
