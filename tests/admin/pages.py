"""Reads the pages of the admin."""

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

PAGE = "/admin/django_jsonbuffer/bucket/"
BUCKET = f"{PAGE}orders/change/"
CODENAMES = ("view_bucket", "view_events", "drain_bucket", "change_bucket", "delete_events")
COLUMNS = (
    *("name", "state", "history", "pending", "oldest", "in", "out", "dead", "in flight"),
    *("batches", "bytes", "workers"),
)


class TableParser(HTMLParser):
    """Reads the rows of the only table in the content of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self._is_in_cell = True
        elif tag == "img" and self._is_in_cell:
            self.handle_data(dict(attrs)["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data


def content(response: "Response") -> str:
    return response.content.decode().partition('<div id="content-main"')[2].partition("</main>")[0]


def crumbs(page: str) -> tuple[list[str], str]:
    """The links of the breadcrumbs, and their text."""
    tag = "ol" if django.VERSION >= (6, 1) else "div"
    found = page.partition(f'<{tag} class="breadcrumbs">')[2].partition(f"</{tag}>")[0]
    text = re.sub(r"<[^>]+>", "", found).replace("&rsaquo;", "")
    return re.findall(r'href="([^"]+)"', found), " ".join(text.split())


def rows(response: "Response") -> dict[str, list[str]]:
    """The cells of each row after the first cell, by the text of the first cell."""
    parser = TableParser()
    parser.feed(content(response))
    _, *cells = [[" ".join(cell.split()) for cell in row] for row in parser.rows]
    return {name: rest for name, *rest in cells}


def row(response: "Response", name: str) -> dict[str, str]:
    return dict(zip(COLUMNS, (name, *rows(response)[name]), strict=True))


def figures_of(response: "Response") -> dict[str, str]:
    """The figures of the bucket's page, and its options."""
    pairs = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", content(response), re.DOTALL)
    plain = [[" ".join(re.sub(r"<[^>]+>", "", text).split()) for text in pair] for pair in pairs]
    return dict(plain)


def texts(response: "Response") -> list[str]:
    """The texts of the events, errors and tracebacks on the page."""
    return re.findall(r'<pre class="exhibit"[^>]*>(.*?)</pre>', content(response), re.DOTALL)


def said(response: "Response") -> list[str]:
    return [str(message) for message in response.context["messages"]]
