"""The views that carry actions out, or ask about them first."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from django_jsonbuffer import buckets
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .action_log import ActionLog
from .actions import ACTIONS, PERMISSIONS, Outcome, refuse_empty_selection
from .bulk import carry_out, confirm, named_buckets, read_selected
from .bulk_actions import BULK_ACTIONS
from .confirmations import CONFIRMATIONS, Confirmation
from .frame import Frame, find_bucket
from .listing import Found
from .selection import Selection

_act = method_decorator(require_http_methods(["GET", "HEAD", "POST"]))


class ActingViews(Frame):
    """The actions on one bucket, and on several. A GET does nothing: the login redirects to it."""

    confirmation_template = "admin/django_jsonbuffer/bucket/confirmation.html"

    @_act
    def action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponse:
        """Carry the action out, or ask first if it destroys events or replays dead letters."""
        self.require(request, PERMISSIONS[action])
        try:
            bucket = find_bucket(object_id)
        except JSONBufferError as error:
            return self.unavailable(request, error)
        back = self.url_of("change", bucket)
        if request.method == "POST":
            selection = Selection.of(request)
            if selection.page is not None:
                back = f"{self.url_of('letters', bucket)}?{selection.page}"
            try:
                outcome = self._confirm_or_act(request, bucket, action, selection)
            except JSONBufferError as error:
                if not isinstance(error, BufferUnavailable) or error.is_unreachable:
                    return self.unavailable(request, error)
                outcome = Outcome(str(error), messages.ERROR)
            if isinstance(outcome, Confirmation):
                return self._ask(request, outcome, back=back, name=bucket.name)
            self.message_user(request, outcome.message, outcome.level)
        return HttpResponseRedirect(back)

    def _confirm_or_act(
        self, request: HttpRequest, bucket: buckets.Bucket, action: str, selection: Selection
    ) -> Outcome | Confirmation:
        if action in CONFIRMATIONS and "confirmed" not in request.POST:
            with_events = self.permissions(request)["view_events"]
            question = CONFIRMATIONS[action](bucket, selection, with_events=with_events)
            return question or refuse_empty_selection()
        log = ActionLog(self, request, action)
        log.begin(bucket.name)
        try:
            outcome = ACTIONS[action](bucket, selection, None)
        except JSONBufferError as error:
            log.note(bucket.name, error)
            raise
        else:
            log.note(bucket.name, outcome)
            return outcome
        finally:
            log.close()

    def _ask(
        self, request: HttpRequest, confirmation: Confirmation, *, back: str, name: str = ""
    ) -> TemplateResponse:
        context = {
            "title": confirmation.title,
            "name": name,
            "here": confirmation.title,
            "confirmation": confirmation,
            "back": back,
        }
        return self.page(request, self.confirmation_template, context)

    @_act
    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about an action on several buckets, or carry it out."""
        back = HttpResponseRedirect(self._back_to_list(request))
        action = request.POST.get("action", "")
        if request.method != "POST" or action not in BULK_ACTIONS:
            self.require(request)
            return back
        self.require(request, PERMISSIONS[action])
        try:
            if "confirmed" in request.POST:
                return self._carry_out(request, action) or back
            if "across" in request.POST:
                selected = Found(request.GET.dict()).buckets
            else:
                selected = read_selected(request.POST.getlist("bucket"))
            if confirmation := confirm(action, selected):
                return self._ask(request, confirmation, back=back.url)
        except JSONBufferError as error:
            return self.unavailable(request, error)
        nothing = _("Nothing was done: the action applies to none of the selected buckets.")
        message = nothing if selected else _("Nothing was done: select buckets first.")
        self.message_user(request, message, messages.WARNING)
        return back

    def _carry_out(self, request: HttpRequest, action: str) -> HttpResponse | None:
        """Carry the action out. Returns a question if some buckets are left and time was short."""
        chosen = named_buckets(request.POST.get("names", "").split())
        selection = Selection.of_all(request) if action == "replay" else Selection()
        log = ActionLog(self, request, action)
        try:
            result = carry_out(action, chosen, selection, log)
        finally:
            log.close()
        self.message_user(request, result.message, result.level)
        if not result.rest or result.error:
            return None
        question = confirm(action, read_selected([bucket.name for bucket in result.rest]))
        if question is None:
            return None
        return self._ask(request, question, back=self._back_to_list(request))

    def _back_to_list(self, request: HttpRequest) -> str:
        query = request.GET.urlencode()
        return self.url_of("changelist") + (f"?{query}" if query else "")
