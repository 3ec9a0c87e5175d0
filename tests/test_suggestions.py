import pytest

from django_jsonbuffer.suggestions import suggest

KNOWN = ["batch_size", "batch_bytes", "lease", "CACHE"]


@pytest.mark.parametrize(
    ("misspelled", "suggestion"),
    [
        (["batchsize"], " Did you mean 'batch_size'?"),
        (["BATCH_SIZE"], " Did you mean 'batch_size'?"),
        (["cache"], " Did you mean 'CACHE'?"),
        (["leese", "batch_byte"], " Did you mean 'lease', 'batch_bytes'?"),
        (["leese", "leise"], " Did you mean 'lease'?"),
        (["nothing of the kind"], ""),
        ([5], ""),
        ([], ""),
    ],
)
def test_names_what_is_close(misspelled: list[object], suggestion: str) -> None:
    assert suggest(misspelled, KNOWN) == suggestion


def test_knows_nothing() -> None:
    assert suggest(["orders"], []) == ""
