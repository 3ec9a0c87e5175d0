"""What needs attention, for the index of the admin."""

from collections.abc import Iterable
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext as _

from django_jsonbuffer.admin.attention import describe_attention
from django_jsonbuffer.models import Bucket

register = template.Library()


@register.filter
def with_attention(app_list: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The apps and models of the index, with what needs attention behind the name of the buckets.

    Only for a visitor who may view buckets. The index has no link to the buckets for others.
    """
    return [{**app, "models": [*map(_with_attention, app["models"])]} for app in app_list]


def _with_attention(model: dict[str, Any]) -> dict[str, Any]:
    if model.get("model") is not Bucket or not model["perms"].get("view"):
        return model
    if not (text := describe_attention()):
        return model
    # Django translates the colon too: French puts a space before it.
    name = format_html(
        '{}{} <span class="jsonbuffer-attention">{}</span>', model["name"], _(":"), text
    )
    return {**model, "name": name}
