"""Suggestions for misspelled names."""

from collections.abc import Iterable


def suggest(misspelled: Iterable[object], known: Iterable[str]) -> str:
    """``" Did you mean 'orders'?"`` with the known names that are close. Empty if none is."""
    # Imported late, because only a mistake needs it.
    from difflib import get_close_matches

    by_lower_case = {name.lower(): name for name in known}
    close = {
        by_lower_case[match]: None
        for name in misspelled
        for match in get_close_matches(str(name).lower()[:100], by_lower_case, n=1)
    }
    return f" Did you mean {', '.join(map(repr, close))}?" if close else ""
