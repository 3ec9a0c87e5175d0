from pathlib import Path

from tests.guides.pages import DOCS
from tests.guides.projects import new_project, site_with_shop

PROJECT = f"""{site_with_shop("unix:///nobody/is/here.sock")}
In `shop/models.py`:

```python
from django.db import models


class Order(models.Model):
    number = models.IntegerField(unique=True)
    total = models.DecimalField(max_digits=8, decimal_places=2)
```

```console
$ python manage.py makemigrations shop
```
"""


def test_testing_page(tmp_path: Path, prefix: str) -> None:
    page = (DOCS / "testing.md").read_text()
    with new_project(tmp_path, prefix=prefix) as project:
        project.follow(PROJECT)
        project.follow(page)
    assert [block.language for block in project.left_out] == ["text"]
