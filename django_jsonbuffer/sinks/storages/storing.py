"""Objects in Django's storages that are replaced as a whole."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage

from django_jsonbuffer.exceptions import BufferMisconfigured


def store_object(storage: Storage, name: str, content: bytes) -> None:
    """Store the content under exactly this name. Replaces an object that has the name.

    In a `FileSystemStorage`, the file has the new content or the old one at each moment. It is on
    the disk when this returns. A failure leaves no other file behind. A process that is killed in
    the middle may leave one whose name ends with ``.part``. In another storage, the object is
    deleted first, so it is missing for a moment.

    Raises :class:`BufferMisconfigured` if the storage has stored the object under another name.
    """
    if isinstance(storage, FileSystemStorage):
        _replace_file(storage, name, content)
        return
    if storage.exists(name):
        storage.delete(name)
    stored_as = storage.save(name, ContentFile(content))
    if stored_as != name:
        _refuse(storage, name, stored_as)


def _replace_file(storage: FileSystemStorage, name: str, content: bytes) -> None:
    # Two workers may have the same batch. So each has a part of its own.
    part = f"{name}.{secrets.token_hex(8)}.part"
    path = Path(storage.path(part))
    try:
        stored_as = storage.save(part, ContentFile(content))
        if Path(storage.path(stored_as)) != path:
            _refuse(storage, part, stored_as)
        _move(path, Path(storage.path(name)))
    except BaseException:
        # A disk that is full keeps the beginning of the file.
        with suppress(OSError):
            path.unlink()
        raise


def _refuse(storage: Storage, name: str, stored_as: str) -> NoReturn:
    storage.delete(stored_as)
    raise BufferMisconfigured(
        f"{type(storage).__qualname__} stored {name!r} as {stored_as!r}. A sink needs a storage "
        "that keeps names, so that a repeated batch replaces its object."
    )


def _move(part: Path, file: Path) -> None:
    _flush(part)
    part.replace(file)
    _flush(file.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
