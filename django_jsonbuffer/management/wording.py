"""Words that several commands print."""


def format_counted(number: int, one: str, many: str) -> str:
    """A number with its noun: ``1 event``, ``1,234 events``."""
    return f"{number:,} {one if number == 1 else many}"
