"""The view that Prometheus scrapes."""

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from django_jsonbuffer.conf import configuration

from .collectors import BucketCollector
from .timings import TimingCollector

PERMISSION = "django_jsonbuffer.view_bucket"


# The view asks for a login itself. A scraper has none, and needs no database.
@login_not_required
@transaction.non_atomic_requests
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics of this app, as text or as OpenMetrics.

    Answers a request with the token ``JSONBUFFER["METRICS_TOKEN"]``, or of a staff user who may
    view buckets. Without the token in the settings, only staff get an answer.
    """
    if not (_has_token(request) or _is_permitted(request)):
        return HttpResponse(
            "Send the token of METRICS_TOKEN, or log in as staff.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": "Bearer"},
        )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BucketCollector())
    registry.register(TimingCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _has_token(request: HttpRequest) -> bool:
    token = configuration().metrics_token
    if not token:
        return False
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and constant_time_compare(given, token)


def _is_permitted(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # without AuthenticationMiddleware there is none
    return user is not None and user.is_active and user.is_staff and user.has_perm(PERMISSION)
