"""Context managers that are also decorators of tests, whether these are async or not."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Block(AbstractContextManager[T], Generic[T]):
    """What a function with :func:`block` returns. It may be used several times."""

    def __init__(self, enter: Callable[[], AbstractContextManager[T]]) -> None:
        self._new = enter
        self._entered: list[AbstractContextManager[T]] = []

    def __enter__(self) -> T:
        manager = self._new()
        entered = manager.__enter__()
        self._entered.append(manager)
        return entered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._entered.pop().__exit__(kind, error, traceback)

    def __call__(self, test: F) -> F:
        """Decorate a test function. Raises ``TypeError`` for a class."""
        if isinstance(test, type):
            raise TypeError(
                f"{test.__name__} is a class, of which only methods can be decorated. For all its "
                "tests, use BucketsMixin and its uses_real_redis."
            )

        @wraps(test)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._new():
                return test(*args, **kwargs)

        @wraps(test)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            with self._new():
                return await test(*args, **kwargs)

        return acall if iscoroutinefunction(test) else call  # type: ignore[return-value]


def block(function: Callable[P, Generator[T, None, None]]) -> Callable[P, Block[T]]:
    """Like ``contextlib.contextmanager``, for a context manager that also decorates tests."""
    make = contextmanager(function)

    @wraps(function)
    def new(*args: P.args, **kwargs: P.kwargs) -> Block[T]:
        return Block(lambda: make(*args, **kwargs))

    return new
