"""Reads the pages of the admin."""

import re
from html import escape, unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

PAGE = "/admin/django_jsonbuffer/bucket/"
BUCKET = f"{PAGE}orders/change/"
LETTERS = f"{PAGE}orders/dead-letters/"
DOWNLOAD = f"{LETTERS}download/"
WORKERS = f"{PAGE}workers/"
BULK = f"{PAGE}actions/"
CODENAMES = ("view_bucket", "view_events", "drain_bucket", "change_bucket", "delete_events")
COLUMNS = ("name", "state", "pending", "oldest", "in", "out", "dead", "history")
"""Of the list. The name and the state share a cell."""


class TableParser(HTMLParser):
    """Reads the rows of tables, without boxes to select them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td") and dict(attrs).get("class") != "select":
            self.tables[-1][-1].append("")
            self._is_in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.tables[-1][-1][-1] += data


def content(response: "Response") -> str:
    return response.content.decode().partition('<div id="content-main"')[2].partition("</main>")[0]


def crumbs(page: str) -> tuple[list[str], str]:
    """The links of the breadcrumbs, and their text."""
    tag = "ol" if django.VERSION >= (6, 1) else "div"
    found = page.partition(f'<{tag} class="breadcrumbs">')[2].partition(f"</{tag}>")[0]
    text = re.sub(r"<[^>]+>", "", found).replace("&rsaquo;", "")
    return re.findall(r'href="([^"]+)"', found), " ".join(text.split())


def tables(html: str) -> list[list[list[str]]]:
    """The cells of each row of each table."""
    parser = TableParser()
    parser.feed(html)
    return [[[" ".join(cell.split()) for cell in row] for row in table] for table in parser.tables]


def rows(response: "Response") -> dict[str, list[str]]:
    """The cells of each row after the name, by the name that the first cell begins with."""
    [[_, *cells]] = tables(content(response))
    found = {}
    for first, *others in cells:
        name, *about = first.split(" ", 1)
        found[name] = [*about, *others]
    return found


def row(response: "Response", name: str) -> dict[str, str]:
    return dict(zip(COLUMNS, (name, *rows(response)[name]), strict=True))


def figures_of(response: "Response") -> dict[str, str]:
    """The figures of the bucket's page, and its options. Or the summary of the list."""
    pattern = r"<div[^>]*><dt>(.*?)</dt><dd[^>]*>(.*?)</dd></div>"
    pairs = re.findall(pattern, content(response), re.DOTALL)
    return {plain(name): plain(value) for name, value in pairs}


def plain(html: str) -> str:
    """The text of a part of a page, with a single space in place of each gap."""
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


def part(response: "Response", id: str) -> str:
    """The content from the element with this id to the next section."""
    return content(response).partition(f'id="{id}"')[2].partition("<section")[0]


def buttons(html: str) -> list[str]:
    """The texts of the buttons that send a form and can be pressed."""
    found = re.findall(r'<button type="submit"([^>]*)>(.*?)</button>', html, re.DOTALL)
    return [plain(text) for attributes, text in found if " disabled" not in attributes]


def fields(response: "Response") -> dict[str, list[str]]:
    """The hidden fields of the form on a page that asks, by name. Without the CSRF token."""
    found: dict[str, list[str]] = {}
    pattern = r'<input type="hidden" name="([^"]*)" value="([^"]*)">'
    for name, value in re.findall(pattern, content(response)):
        if name != "csrfmiddlewaretoken":
            found.setdefault(name, []).append(unescape(value))
    return found


def newest_on(response: "Response") -> str:
    """The newest dead letter when the page of the bucket was made, as its forms send it."""
    found: set[str] = {*re.findall(r'name="newest" value="([^"]*)"', content(response))}
    [newest] = found
    return newest


def group_key(response: "Response", title: str) -> str:
    """What stands for the group with this title in the forms of the bucket's page."""
    groups = re.findall(r'<li class="group">.*?</li>', content(response), re.DOTALL)
    [group] = [group for group in groups if f'class="group-title">{escape(title)}<' in group]
    [key] = re.findall(r'name="group" value="([^"]*)"', group)
    return str(key)


def texts(response: "Response") -> list[str]:
    """The texts of the events, errors and tracebacks on the page."""
    return re.findall(r'<pre class="exhibit"[^>]*>(.*?)</pre>', content(response), re.DOTALL)


def said(response: "Response") -> list[str]:
    return [str(message) for message in response.context["messages"]]
