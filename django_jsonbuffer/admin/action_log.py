"""Writes the actions of a visitor into the admin's log."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.models import Bucket

from .actions import Outcome

SHOWN = 10


class ActionLog:
    """The entries of one action on some buckets.

    Each is written before the action begins with its bucket, so that an action that ends halfway is
    logged as well. The results replace their texts at the end, and entries of buckets with which
    nothing was done are deleted. If an unexpected exception ends the action, the entries of the
    buckets in hand stay as they are.
    """

    def __init__(self, admin: Any, request: HttpRequest, action: str) -> None:
        self._admin = admin
        self._request = request
        self._action = action
        self._in_hand: dict[str, LogEntry] = {}
        self._written: list[LogEntry] = []
        self._untouched: list[int] = []

    def begin(self, *names: str) -> None:
        """From here on, the action may do something with these buckets."""
        began = _("Begun: %(action)s.") % {"action": self._action}
        with transaction.atomic():
            for name in names:
                entry = self._admin.log_change(self._request, Bucket(name=name), began)
                self._in_hand[name] = entry

    def note(self, name: str, result: Outcome | JSONBufferError) -> None:
        """Note the result for a bucket in hand."""
        entry = self._in_hand.pop(name)
        if isinstance(result, JSONBufferError):
            message = _("Ended halfway: %(action)s. %(error)s")
            entry.change_message = message % {"action": self._action, "error": result}
        elif result.is_logged:
            entry.change_message = result.message
        else:
            self._untouched.append(entry.pk)
            return
        self._written.append(entry)

    def close(self) -> None:
        """Write the results."""
        with transaction.atomic():
            LogEntry.objects.bulk_update(self._written, ["change_message"], batch_size=500)
            for start in range(0, len(self._untouched), 500):
                some = self._untouched[start : start + 500]
                LogEntry.objects.filter(pk__in=some).delete()


def recent_actions(bucket_name: str) -> Any:
    """The newest entries about a bucket."""
    entries = LogEntry.objects.filter(
        content_type=get_content_type_for_model(Bucket), object_id=bucket_name
    )
    return entries.select_related("user").order_by("-action_time")[:SHOWN]
