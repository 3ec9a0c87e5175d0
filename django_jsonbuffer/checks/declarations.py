"""Checks of the buckets that apps declare, and of those that the settings name."""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer import catalog, middleware
from django_jsonbuffer.appending.spill_access import is_writable
from django_jsonbuffer.conf import Configuration, configuration
from django_jsonbuffer.declarations import Declaration, declared
from django_jsonbuffer.draining.receipts import fault_of_receipts
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.options import checked_options
from django_jsonbuffer.recording import registry
from django_jsonbuffer.store.keys import is_valid_name, validated_name
from django_jsonbuffer.store.patterns import Names, is_pattern
from django_jsonbuffer.suggestions import suggest


@register
def check_buckets(**kwargs: Any) -> list[CheckMessage]:
    """Check each bucket that an app declares, and each bucket that the settings name."""
    return [
        *_check_names_and_options(),
        *_check_options_in_settings(),
        *_check_names_in_settings(),
        *_check_contradictions(),
        *_check_number_of_processors(),
        *_check_that_a_processor_exists(),
        *_check_spill_folders(),
        *_check_receipts(),
        *_check_actors(),
    ]


def _check_names_and_options() -> Iterator[CheckMessage]:
    for bucket, place in declared.buckets:
        if bucket.fault is not None:
            yield Error(
                f"{bucket.fault} ({place})",
                hint="Correct the declaration.",
                id="django_jsonbuffer.E004",
            )


def _check_options_in_settings() -> Iterator[CheckMessage]:
    for name, options in _configuration_or_default().buckets.items():
        try:
            checked_options(name if is_pattern(name) else validated_name(name), options)
        except JSONBufferError as error:
            yield Error(
                str(error),
                hint="Correct JSONBUFFER['BUCKETS'] in the settings.",
                id="django_jsonbuffer.E004",
            )


def _check_names_in_settings() -> Iterator[CheckMessage]:
    names = {str(bucket.name) for bucket, _ in declared.buckets} | {*declared.processors}
    known = Names(names)
    for name in _configuration_or_default().buckets:
        if is_valid_name(name) and name not in known:
            yield CheckWarning(
                f"JSONBUFFER['BUCKETS'] has options for {name!r}, which no app declares.",
                hint=f"Declared buckets: {', '.join(sorted(names)) or 'none'}."
                f"{suggest([name], names)}",
                id="django_jsonbuffer.W008",
            )


def _check_contradictions() -> Iterator[CheckMessage]:
    by_name: dict[str, list[Declaration]] = defaultdict(list)
    for declaration in declared.buckets:
        # Without options, the handle refers to a bucket that is declared elsewhere.
        if declaration.bucket.fault is None and declaration.bucket.given_options:
            by_name[declaration.bucket.name].append(declaration)
    for name, its_declarations in by_name.items():
        first = its_declarations[0].bucket.given_options
        if any(bucket.given_options != first for bucket, _ in its_declarations):
            places = ", ".join(place for _, place in its_declarations)
            yield Error(
                f"Bucket {name!r} is declared with different options: {places}.",
                hint="Declare it once, and use Bucket(name) without options elsewhere.",
                id="django_jsonbuffer.E005",
            )


def _check_number_of_processors() -> Iterator[CheckMessage]:
    for name, processors in declared.rivals.items():
        functions = ", ".join(_dotted_name(processor.function) for processor in processors)
        yield Error(
            f"Bucket {name!r} has several processors: {functions}.",
            hint="A bucket has one processor. Call all functions from it, or use two buckets.",
            id="django_jsonbuffer.E005",
        )


def _check_that_a_processor_exists() -> Iterator[CheckMessage]:
    for bucket in catalog.declared_buckets():
        try:
            is_for_a_processor = catalog.options_of(bucket).batch_size is not None
        except JSONBufferError:
            continue  # reported as E001 or E004
        if is_for_a_processor and not catalog.has_processor(bucket):
            yield CheckWarning(
                f"Bucket {bucket.name!r} has no processor, so drain_buckets does not drain it.",
                hint=(
                    "Declare one with @bucket.processor, or set batch_size=None if another client "
                    "takes its events."
                ),
                obj=bucket,
                id="django_jsonbuffer.W001",
            )


def _check_spill_folders() -> Iterator[CheckMessage]:
    for bucket in catalog.declared_buckets():
        try:
            folder = catalog.options_of(bucket).spill_dir
        except JSONBufferError:
            continue  # reported as E001 or E004
        if folder is None:
            continue
        if not is_writable(folder):
            yield CheckWarning(
                f"Bucket {bucket.name!r} spills to {os.fspath(folder)!r}, but this process cannot "
                "use this folder or the files in it, so events would be lost while Redis is "
                "unavailable.",
                hint="Create the folder, and let the user that runs the site own it and its files.",
                obj=bucket,
                id="django_jsonbuffer.W010",
            )


def _check_receipts() -> Iterator[CheckMessage]:
    for bucket in catalog.declared_buckets():
        processor = declared.find_processor(bucket.name)
        try:
            alias = catalog.options_of(bucket).receipts
        except JSONBufferError:
            continue  # reported as E001 or E004
        if alias is None or processor is None:
            continue
        if fault := fault_of_receipts(alias, processor):
            yield Error(
                f"Bucket {bucket.name!r} {fault.problem}",
                hint=fault.hint,
                obj=bucket,
                id="django_jsonbuffer.E010",
            )


def _check_actors() -> Iterator[CheckMessage]:
    needed = f"{middleware.__name__}.{middleware.actor_middleware.__name__}"
    if needed in settings.MIDDLEWARE:
        return
    for recording in registry.recordings:
        if recording.actor:
            yield CheckWarning(
                f"Bucket {recording.destination.name!r} records {recording.model._meta.label} "
                "with actor=True, but no middleware provides the user.",
                hint=f"Add {needed!r} to MIDDLEWARE, or leave actor=True out. If acting_as() names "
                "everybody who makes changes, silence this check.",
                obj=recording.destination,
                id="django_jsonbuffer.W009",
            )


def _configuration_or_default() -> Configuration:
    try:
        return configuration()
    except JSONBufferError:
        return Configuration()  # reported as E001


def _dotted_name(function: object) -> str:
    name = getattr(function, "__qualname__", None)  # a partial has no such attribute
    return f"{function.__module__}.{name}" if name else repr(function)
