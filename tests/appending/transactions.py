"""Transactions of tests that are rolled back."""

from collections.abc import Callable

import pytest
from django.db import transaction


class Undo(Exception):
    """Raised to roll back. The test catches it."""


def rolled_back(*, using: str = "default", appending: Callable[[], object]) -> None:
    with pytest.raises(Undo), transaction.atomic(using=using):
        appending()
        raise Undo
