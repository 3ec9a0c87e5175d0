"""What all commands have in common: their output, and their errors."""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.catalog import Known
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .each import each
from .gaps import describe_gaps
from .output import Output


class BufferCommand(BaseCommand):
    """A command that does its work, and keeps its exit code, even if it cannot print.

    An error of this app ends it with its message and `error_code`.
    """

    error_code = 1
    """Exit code if the app is misconfigured, or Redis is unavailable."""

    def __init__(
        self, stdout: TextIO | None = None, stderr: TextIO | None = None, **styles: Any
    ) -> None:
        self._output = Output(stdout or sys.stdout)
        self._errors = Output(stderr or sys.stderr)
        if getattr(sys.stdout, "closed", False):
            styles["no_color"] = True  # Django would ask the closed stream whether it is a terminal
        super().__init__(self._output, self._errors, **styles)  # type: ignore[arg-type]

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as the command of a process, whose standard streams a processor may also use."""
        try:
            with redirect_stdout(self._output), redirect_stderr(self._errors):
                super().run_from_argv(argv)
        finally:
            self._output.discard_unwritten()
            self._errors.discard_unwritten()

    def execute(self, *args: Any, **options: Any) -> str | None:
        if options.get("stdout"):
            options["stdout"] = self._output = Output(options["stdout"])
        if options.get("stderr"):
            options["stderr"] = self._errors = Output(options["stderr"])
        try:
            return super().execute(*args, **options)
        except JSONBufferError as error:
            message = escape_invisible(str(error), keep="\n")
            raise CommandError(message, returncode=self.error_code) from error

    def report(self, line: str) -> None:
        """Write a line that is read at once, even from a file or a pipe."""
        self.stdout.write(line)
        self.stdout.flush()

    def complain(self, line: str) -> None:
        """Write a line on standard error. It may quote text of other clients."""
        self.stderr.write(escape_invisible(line))

    def do_for_each(self, known: Known, work: Callable[[Bucket], str], *, is_quiet: bool) -> None:
        """Do the work for each bucket, and report what it returns.

        A bucket for which the work fails does not stop the others. The command then fails in the
        end, and also if there is a gap.
        """
        errors: dict[str, JSONBufferError] = {}
        for bucket, outcome in each(known.buckets, work):
            if isinstance(outcome, JSONBufferError):
                errors[bucket.name] = outcome
            elif not is_quiet:
                self.report(f"{bucket.name}: {outcome}")
        self.fail_for(errors, "Not done, or only in part", gap=known.gap)

    def fail_for(
        self,
        errors: Mapping[str, JSONBufferError],
        what: str,
        *,
        gap: BufferUnavailable | None,
    ) -> None:
        """Fail if there is an error or a gap. The errors are given by the names of their buckets.

        See also :func:`.describe_gaps`.
        """
        lines = [*dict.fromkeys(map(str, errors.values())), *describe_gaps(gap)]
        if errors:
            lines.append(f"{what}: {', '.join(errors)}.")
        if lines:
            text = escape_invisible("\n".join(lines), keep="\n")
            raise CommandError(text, returncode=self.error_code)

    @property
    def is_unread(self) -> bool:
        """Whether nobody reads the output."""
        return self._output.is_unread

    def require_whole_output(self) -> None:
        """Fail if some of the output is lost, for commands that are run for their output.

        If nobody reads the output, as behind ``| head -1``, nothing is lost.
        """
        self.stdout.flush()
        if failure := self._output.failure:
            raise CommandError(
                f"The output could not be written: {failure}.", returncode=self.error_code
            )
