"""Escapes for text that other clients may have written."""


def escape_invisible(text: str, *, keep: str = "") -> str:
    """Replace characters that would hide, reverse or end the text by escapes, except `keep`.

    A terminal also obeys some of these characters.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )
