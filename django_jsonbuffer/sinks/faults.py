"""What is wrong with the declaration of a sink: for the system checks, and for the first use."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from inspect import isasyncgenfunction, isgeneratorfunction

from django.core.checks import CheckMessage, Error

from django_jsonbuffer.exceptions import BufferMisconfigured

from .sink import Sink


def fault(message: str, *, hint: str) -> Error:
    """A declaration that cannot work."""
    return Error(message, hint=hint, id="django_jsonbuffer.E018")


def missing_extra(sink: str, extra: str) -> Iterator[Error]:
    """A fault if the package of this extra, which has the same name, is not installed."""
    if find_spec(extra) is None:
        yield Error(
            f"{sink} needs {extra}, which is not installed.",
            hint=f"Run: pip install 'django-jsonbuffer[{extra}]'",
            id="django_jsonbuffer.E017",
        )


def refuse_faulty(faults: Iterable[CheckMessage]) -> None:
    """Raise :class:`BufferMisconfigured` with the first of these faults, if there is one."""
    for found in faults:
        raise BufferMisconfigured(f"{found.msg} {found.hint}")


def faults_of_inner(sink: str, processors: Iterable[object]) -> Iterator[Error]:
    """Those of the processors that a sink hands events to, if they cannot process any."""
    for processor in processors:
        if isgeneratorfunction(processor) or isasyncgenfunction(processor):
            yield fault(
                f"{sink} has a processor that is a generator function: {processor!r}.",
                hint="Take the yield out: a call does not run the body of a generator function.",
            )
        elif isinstance(processor, type):
            yield fault(
                f"{sink} has a processor that is a class: {processor!r}.",
                hint=f"Write {processor.__name__}(…), with its arguments.",
            )
        elif not callable(processor):
            yield fault(
                f"{sink} has a processor that cannot be called: {processor!r}.",
                hint="Give it a function that takes a batch, or a sink.",
            )


def checks_of_inner(processors: Iterable[object]) -> Iterator[CheckMessage]:
    """What the sinks among these processors report about themselves."""
    for processor in processors:
        if isinstance(processor, Sink):
            yield from processor.check()


def databases_of_inner(processors: Iterable[object]) -> Iterator[str]:
    """Aliases of the databases that the sinks among these processors write to."""
    for processor in processors:
        if isinstance(processor, Sink):
            yield from processor.databases()
