"""Signals whose receivers may fail."""

from typing import Any

from django.dispatch import Signal


class UnloggedSignal(Signal):
    """A signal whose ``send_robust()`` only returns the errors of receivers.

    Django also logs each error with the messages of all exceptions in its chain. The exception that
    is being handled is one of them, and it may quote an event. Of a receiver without a name, Django
    raises an error in place of logging. Relies on ``_log_robust_failure``, which logs.
    """

    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        pass
