"""Merges the options of buckets, once for all buckets that the same patterns match."""

from collections.abc import Callable, Mapping, Sized
from typing import Any, Final, Generic, TypeVar

from .conf import Configuration
from .options import Options, checked_options
from .store.patterns import OptionsByName

_S = TypeVar("_S", bound=Sized)
_T = TypeVar("_T")


class Made(Generic[_S, _T]):
    """What is made of a collection. Made again if this is another object, or has another length."""

    def __init__(self, make: Callable[[_S], _T]) -> None:
        self._make = make
        self._kept: tuple[_S, int, _T] | None = None

    def of(self, source: _S) -> _T:
        kept = self._kept
        if kept is None or kept[0] is not source or kept[1] != len(source):
            kept = self._kept = source, len(source), self._make(source)
        return kept[2]


class MergedOptions:
    """The options of buckets. Buckets with the same options share them: a site may have thousands
    of buckets, and a check of each would take most of the time of a list."""

    def __init__(self) -> None:
        self._in_setting = Made(OptionsByName)
        self._checked: Final[dict[tuple[int, int], tuple[object, object, Options]]] = {}
        """By the ids of the two mappings that were merged, with these mappings."""

    def checked(
        self,
        declared: Mapping[str, Any],
        given: Mapping[str, Any],
        current: Configuration,
        name: str,
    ) -> Options:
        """The declared options, over them the given ones, over them those of the setting.

        Raises :class:`BufferMisconfigured`.
        """
        in_setting = self._in_setting.of(current.buckets).of(name)
        if given:
            return checked_options(name, {**declared, **given, **in_setting})
        known = self._checked.get(place := (id(declared), id(in_setting)))
        if known is None or known[0] is not declared or known[1] is not in_setting:
            options = checked_options(name, {**declared, **in_setting})
            known = self._checked[place] = declared, in_setting, options
        return known[2]
