"""A stream that the commands, and the processors that they run, may always write to."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Output:
    """A text stream whose errors end nothing, because a worker must not die of its own reports.

    A full disk loses what is written meanwhile, and no more. A character that the encoding of the
    stream lacks is written as an escape. The stream may be None, as ``sys.stdout`` is if its
    descriptor was closed when Python started.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # A stream of this class has no descriptor, and refuses every write.
        self._stream: Any = io.TextIOBase() if stream is None else stream
        self.is_unread = False
        """Whether nobody reads the stream: its pipe is broken, or it is closed."""

        self.failure: OSError | None = None
        """The first error that lost some of the output, although somebody may read the stream."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        try:
            return bool(self._stream.isatty())
        except (OSError, ValueError):
            return False

    def write(self, text: str) -> int:
        with self._noting_errors():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                encoded = text.encode(encoding, "backslashreplace")
                self._stream.write(encoded.decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._noting_errors():
            self._stream.flush()

    def discard_unwritten(self) -> None:
        """Discard the text that cannot be written.

        Otherwise Python tries again at its exit, and a failure there replaces the exit code by 120.
        """
        with suppress(OSError, ValueError):  # of a stream that has no descriptor
            try:
                self._stream.flush()
            except OSError:
                descriptor = self._stream.fileno()
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except (BrokenPipeError, ValueError):
            self.is_unread = True
        except OSError as error:
            self.failure = self.failure or error
