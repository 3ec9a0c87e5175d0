"""Whether the translations are complete. `make messages` updates them."""

import html
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

import django_jsonbuffer
from django_jsonbuffer import Bucket

from .admin.pages import PAGE, row

ROOT = Path(django_jsonbuffer.__file__).parent
LOCALE = ROOT / "locale"
PAUSED = {"de": "pausiert", "es": "en pausa", "fr": "en pause"}
"""The state of a paused bucket, in each language."""

FUNCTIONS = ("gettext", "ngettext", "pgettext", "npgettext")
KEYWORDS = DEFAULT_KEYWORDS | {f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in FUNCTIONS}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|</?\w+>")

MARKED = re.compile(
    r"""
    {% \s* block \s (?:bodyclass | skip_target) \s* %} .*? {% \s* endblock .*? %}
    | {% \s* blocktrans (?:late)? \b .*? {% \s* endblocktrans (?:late)? \s* %}
    | {% .*? %} | {{ .*? }} | {\# .*? \#}
    | \b JSON \b
    """,
    re.DOTALL | re.VERBOSE,
)
"""What is translated, is not text, comes from elsewhere, or is a name."""

READ_ALOUD = re.compile(r'(?:alt|aria-label|placeholder|title)="([^"]*)"')

Text = tuple[str | None, str | tuple[str, ...]]
"""Context of a text, and the text itself; singular and plural if it has both."""


def texts_of_module(source: str) -> Iterator[Text]:
    for _, text, _, context in extract("python", BytesIO(source.encode()), KEYWORDS):
        yield context, text


def texts_of_template(source: str) -> Iterator[Text]:
    # A template becomes a module for xgettext. Within brackets, its indentation has no meaning.
    yield from texts_of_module(f"({templatize(source)}\n)")


def all_texts() -> set[Text]:
    modules, templates = ROOT.rglob("*.py"), ROOT.rglob("*.html")
    found = {text for path in modules for text in texts_of_module(path.read_text())}
    return found | {text for path in templates for text in texts_of_template(path.read_text())}


def unmarked_texts(template: str) -> list[str]:
    """What a visitor reads or hears, and no translator sees."""
    rest = html.unescape(MARKED.sub("", template))
    texts = [*READ_ALOUD.findall(rest), *re.split(r"<[^>]*>", rest)]
    return [text.strip() for text in texts if re.search(r"[a-z]{2}", text, re.IGNORECASE)]


def read_catalog(language: str) -> Catalog:
    with (LOCALE / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file)


def translations(catalog: Catalog) -> dict[Text, tuple[str, ...]]:
    """All forms of each text."""
    return {
        (message.context, message.id if isinstance(message.id, str) else tuple(message.id)): (
            forms(message.string)
        )
        for message in catalog
        if message.id
    }


def forms(text: str | Iterable[str] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def test_finds_the_texts_of_a_module() -> None:
    source = """
        _("a" "b")
        gettext_lazy("c")
        ngettext("%(n)s d", "%(n)s ds", n)
        pgettext("e", "f")
    """
    found = {(None, "ab"), (None, "c"), (None, ("%(n)s d", "%(n)s ds")), ("e", "f")}
    assert set(texts_of_module(f"if True:{source}")) == found


def test_finds_the_texts_of_a_template() -> None:
    source = """
        <p>It's {% translate "a" %}
      {% blocktranslate trimmed count n=1 %}
        {{ n }}
        b{% plural %}{{ n }} bs{% endblocktranslate %}{{ c|default:_("d") }}
    """
    found = {(None, "a"), (None, ("%(n)s b", "%(n)s bs")), (None, "d")}
    assert set(texts_of_template(source)) == found


def test_finds_what_is_not_marked() -> None:
    source = """
        {# a comment #}<p class="quiet" title="this">and {% translate "not that" %}</p>
        {% blocktranslate %}nor <b>that</b>{% endblocktranslate %} {{ nor_that }}
        <span aria-label="{% translate "nor that" %}">▲</span> &rsaquo;
    """
    assert unmarked_texts(source) == ["this", "and"]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.html")), ids=lambda path: path.name)
def test_template_has_no_other_text(path: Path) -> None:
    assert unmarked_texts(path.read_text()) == []


def test_languages() -> None:
    assert {path.name for path in LOCALE.iterdir()} == set(PAUSED)


@pytest.mark.parametrize("language", PAUSED)
class TestCatalog:
    def test_has_exactly_the_marked_texts(self, language: str) -> None:
        catalog = read_catalog(language)
        assert translations(catalog).keys() == all_texts()
        assert not catalog.obsolete

    def test_translates_every_text(self, language: str) -> None:
        catalog = read_catalog(language)
        for message in catalog:
            count = catalog.num_plurals if message.pluralizable else 1
            assert len(forms(message.string)) == count, message.id
            assert all(forms(message.string)), message.id
            assert not message.fuzzy, message.id

    def test_keeps_placeholders_and_tags(self, language: str) -> None:
        for (_, text), translated in translations(read_catalog(language)).items():
            expected = sorted(PLACEHOLDER.findall(forms(text)[-1]))
            for form in translated:
                assert sorted(PLACEHOLDER.findall(form)) == expected

    def test_is_compiled(self, language: str) -> None:
        with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
            compiled = read_mo(file)
        assert translations(compiled) == translations(read_catalog(language))

    @pytest.mark.django_db(transaction=True)
    def test_is_used(self, admin_client: Client, language: str) -> None:
        Bucket("orders").append(1)
        Bucket("orders").pause()
        with translation.override(language):
            response = admin_client.get(PAGE)
        assert row(response, "orders")["state"].startswith(PAUSED[language])
