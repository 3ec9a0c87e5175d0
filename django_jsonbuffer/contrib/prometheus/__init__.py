"""Metrics for Prometheus: a collector for `prometheus_client`, histograms, and a view."""

from django_jsonbuffer.exceptions import BufferMisconfigured

try:
    import prometheus_client as prometheus_client
except ImportError as error:
    raise BufferMisconfigured(
        f"{__name__} needs prometheus-client, which is not installed. Run: pip install "
        "'django-jsonbuffer[prometheus]'"
    ) from error
