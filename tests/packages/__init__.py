"""Recordings of models that use other packages. Each group has settings of its own."""

import pytest

pytest.register_assert_rewrite("tests.packages.ledger")
