import pytest

from tests.guides.pages import blocks, commands, is_as_shown

PAGE = """# Guide

In `shop/models.py`:

```python
a = 1
```

A variant:

```python
a = 2
```

At the end of `mysite/settings.py`, which exists:

```console
$ python -c "
print(1)
"
1
$ ls
```
"""


def test_blocks_know_their_file() -> None:
    assert [(block.language, block.file, block.is_at_end) for block in blocks(PAGE)] == [
        ("python", "shop/models.py", False),
        ("python", None, False),
        ("console", "mysite/settings.py", True),
    ]


def test_command_may_have_several_lines() -> None:
    *_, console = blocks(PAGE)
    assert [*commands(console)] == [('python -c "\nprint(1)\n"\n', "1\n"), ("ls\n", "")]


SHOWN = """Bucket a: batch 1795950434411-0-41e78832 failed. It comes again in about 0.6 s.
  …
a: 1 event in 1 batch
"""


@pytest.mark.parametrize(
    ("printed", "is_so"),
    [
        (SHOWN, True),
        (SHOWN.replace("  …\n", "  File x\n    y()\n"), True),
        (SHOWN.replace("0.6", "11.9").replace("41e78832", "00000000"), True),
        (SHOWN.replace("1 event", "2 events"), False),
        (SHOWN.replace("Bucket a", "Bucket b"), False),
        (SHOWN + "more\n", False),
        ("", False),
    ],
)
def test_output_is_as_shown(printed: str, is_so: bool) -> None:
    assert is_as_shown(printed, SHOWN) is is_so
