"""OpenTelemetry: a span for each append, and one for each batch, with links to its appends.

A project adds this app to ``INSTALLED_APPS`` and needs ``opentelemetry-api``. Its own setup of
OpenTelemetry decides what is sampled, and where the spans go.
"""
