import asyncio
import functools
from typing import Any

import pytest
from django.dispatch import Signal

from django_jsonbuffer.django_internals.signals import UnloggedSignal


def fail(error: Exception, **kwargs: Any) -> None:
    raise error


async def afail(error: Exception, **kwargs: Any) -> None:
    raise error


@pytest.mark.parametrize("function", [fail, afail])
@pytest.mark.parametrize("is_async", [False, True])
def test_error_is_returned_and_not_logged(
    caplog: pytest.LogCaptureFixture, function: Any, is_async: bool
) -> None:
    signal, error = UnloggedSignal(), ValueError("card 4111")
    receiver = functools.partial(function, error)
    signal.connect(receiver)
    responses = asyncio.run(signal.asend_robust(None)) if is_async else signal.send_robust(None)
    assert responses == [(receiver, error)]
    assert caplog.records == []


def test_django_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    signal = Signal()
    receiver = functools.partial(fail, ValueError("card 4111"))
    functools.update_wrapper(receiver, fail)
    signal.connect(receiver)
    signal.send_robust(None)
    assert "4111" in caplog.text
