"""The buckets and processors that code declares, combined with the settings."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.exceptions import AppRegistryNotReady

from .conf import Configuration, active_isolation, configuration, setting
from .encoding import JSONEncoder, encoder
from .exceptions import BufferMisconfigured, JSONBufferError, NoProcessor
from .merged_options import Made, MergedOptions
from .options import Options, checked_options
from .processors import Processor, check_processor
from .store.keys import is_valid_name, validated_name
from .store.patterns import Names, OptionsByName, example, is_pattern
from .store.store import Store

new_store: Callable[[str, Configuration], Store] = Store
"""Makes the store of a bucket. Tools for tests may put a function of their own here."""


class Parts(NamedTuple):
    """The objects that a bucket needs to work, made from the settings of one moment."""

    configuration: Configuration
    options: Options
    store: Store
    encoder: JSONEncoder


class Definition:
    """The name and the options that one call of ``Bucket(…)`` gives.

    A wrong name or option raises an error at once. While the apps are loaded, the error is kept as
    `fault` instead, and raised at the first use. So a system check can report it with its place.
    """

    def __init__(self, name: str, given_options: Mapping[str, Any]) -> None:
        self.name = name
        self.given_options: Final = given_options
        self.fault: JSONBufferError | None = None
        self._made: tuple[object, Parts] | None = None
        """The parts, and the value of the setting from which they were made."""
        self._checked: tuple[object, Options] | None = None
        """The same for the options alone."""
        try:
            self.name = name if is_pattern(name) else validated_name(name)
            if given_options:
                checked_options(self.name, given_options)
        except JSONBufferError as fault:
            if apps.ready:
                raise
            self.fault = fault

    @property
    def parts(self) -> Parts:
        """The parts under the settings of this moment.

        They are made again when the setting is another object, so ``override_settings`` works.
        """
        current = setting()
        if (made := self._made) is not None and made[0] is current:
            return made[1]
        parts = self._new_parts()
        if apps.ready:  # before that, the declaration may not be loaded yet
            self._made = current, parts
        return parts

    @property
    def options(self) -> Options:
        """Those of `parts`, without the store: of use where thousands of buckets are listed."""
        return self.options_under(setting(), configuration())

    def options_under(self, current: object, configuration: Configuration) -> Options:
        """The options under this value of the setting, which is read already."""
        if (checked := self._checked) is not None and checked[0] is current:
            return checked[1]
        options = self._checked_options(configuration)
        if apps.ready:
            self._checked = current, options
        return options

    def _new_parts(self) -> Parts:
        require_installed()
        current, options = configuration(), self.options
        store = new_store(self.name, current)
        store.needs_catalog = declared.only_matches_a_pattern(self.name)
        return Parts(current, options, store, encoder(current.encoder))

    def _checked_options(self, current: Configuration) -> Options:
        if self.fault is not None:
            # A new exception each time, because one that is raised again keeps all its old frames.
            raise type(self.fault)(str(self.fault))
        if is_pattern(self.name):
            raise BufferMisconfigured(
                f"{self.name!r} is a pattern, which declares the options and the processor of all "
                f"buckets whose names match. Use such a bucket: Bucket({example(self.name)!r})."
            )
        options = declared.checked_options(current, self.name, self.given_options)
        if options.spill_dir and (isolated := active_isolation()) is not None:
            options = replace(options, spill_dir=isolated.spill_dir)
        return options


def require_installed() -> None:
    """Raise :class:`BufferMisconfigured` if this app is not in ``INSTALLED_APPS``.

    Without the app, appends would work, but no ``buckets.py`` would be imported. While the apps are
    loaded, nobody knows yet which apps are installed, so nothing is raised.
    """
    try:
        is_installed = apps.is_installed(__package__)
    except AppRegistryNotReady:
        return
    if not is_installed:
        raise BufferMisconfigured(
            f"{__package__!r} is not in INSTALLED_APPS. Add it: otherwise no buckets.py is "
            "imported, so no bucket has the options and the processor of its declaration."
        )


class Declaration(NamedTuple):
    """One call of ``Bucket(…)`` that declares a bucket."""

    bucket: Definition
    place: str
    """File and line."""


def _options_of(buckets: Collection[Declaration]) -> OptionsByName:
    """The options of all declarations, without those that a system check reports."""
    options: dict[str, dict[str, Any]] = {}
    for bucket, _ in buckets:
        if is_valid_name(bucket.name) or is_pattern(bucket.name):
            options.setdefault(bucket.name, {}).update(bucket.given_options)
    return OptionsByName(options)


def _patterns_of(processors: Collection[str]) -> Names:
    return Names(sorted(filter(is_pattern, processors)))


class Declarations:
    """The buckets that were declared while the apps were loaded, and all processors.

    Handles that are made later are not kept, so that a process may use any number of names. A name
    may be a pattern. What is declared for a bucket itself wins over what is declared for a pattern,
    and a longer pattern wins over a shorter one.
    """

    def __init__(self) -> None:
        self.buckets: list[Declaration] = []
        self.processors: dict[str, Processor] = {}
        self.rivals: dict[str, list[Processor]] = {}
        """All processors of each bucket for which several were declared, for a system check."""
        self._declared_options = Made(_options_of)
        self._options = MergedOptions()
        self._patterns = Made(_patterns_of)

    def declare(self, bucket: Definition) -> None:
        """Keep a definition, with the place of the call of ``Bucket(…)`` that made it."""
        frame = sys._getframe(2)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self.buckets.append(Declaration(bucket, place))

    def processor_of(self, name: str) -> Processor:
        """The processor of a bucket. Raises :class:`NoProcessor` if the bucket has none."""
        if (processor := self.find_processor(name)) is None:
            raise NoProcessor(
                f"Bucket {name!r} has no processor. Declare one with @bucket.processor in a "
                "buckets.py of an installed app."
            )
        return processor

    def find_processor(self, name: str) -> Processor | None:
        """The processor of a bucket, or of the most specific pattern that has one, if any."""
        if (own := self.processors.get(name)) is not None:
            return own
        found = self._patterns.of(self.processors).matching(name)
        return self.processors[found[-1]] if found else None

    def only_matches_a_pattern(self, name: str) -> bool:
        """Whether workers process the bucket, and no declaration has its name."""
        is_named = name in self.processors or name in self._declared_options.of(self.buckets).names
        return not is_named and self.find_processor(name) is not None

    def add_processor(self, name: str, processor: Processor) -> None:
        """Keep a processor. Raises :class:`BufferMisconfigured` if it could not work."""
        check_processor(name, *processor)
        if not is_valid_name(name) and not is_pattern(name):
            return  # a system check reports the declaration
        earlier = self.processors.get(name)
        if earlier not in (None, processor) and not apps.ready:
            self.rivals.setdefault(name, [earlier]).append(processor)
        self.processors[name] = processor

    def checked_options(
        self, current: Configuration, name: str, given: Mapping[str, Any]
    ) -> Options:
        """The options of a bucket: the declared ones, over them the given ones, over them those of
        the setting. Raises :class:`BufferMisconfigured`.
        """
        return self._options.checked(self.options_of(name), given, current, name)

    def options_of(self, name: str) -> Mapping[str, Any]:
        """The options of all declarations of the name. A system check ensures that they agree."""
        return self._declared_options.of(self.buckets).of(name)

    @property
    def patterns(self) -> list[str]:
        """The patterns that have a processor, sorted."""
        return [*self._patterns.of(self.processors).all]

    @property
    def names(self) -> list[str]:
        """The valid names of all buckets that are declared or have a processor, sorted."""
        names = [bucket.name for bucket, _ in self.buckets] + [*self.processors]
        return sorted({*filter(is_valid_name, names)})


declared: Final = Declarations()
