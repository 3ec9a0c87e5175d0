"""Rules for each call of the logger."""

import ast
from collections.abc import Iterator

from tests.test_rooms import MODULES


def logger_calls() -> Iterator[tuple[str, ast.Call]]:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
                yield module, node


def keywords(call: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in call.keywords}


def test_there_are_some() -> None:
    assert len([*logger_calls()]) > 10


def test_no_line_has_a_traceback_of_python() -> None:
    """It would show the messages of all exceptions in the chain, and they may quote events."""
    for module, call in logger_calls():
        assert ast.unparse(call.func) != "logger.exception", module
        assert not {"exc_info", "stack_info"} & keywords(call), module


def test_line_that_begins_with_a_bucket_has_it_as_a_field() -> None:
    for module, call in logger_calls():
        if ast.unparse(call.func) != "logger.isEnabledFor":
            text = call.args[0]
            is_of_bucket = not isinstance(text, ast.Constant) or "Bucket %s" in str(text.value)
            assert not is_of_bucket or "extra" in keywords(call), module
