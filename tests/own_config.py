"""An AppConfig of a project's own for the app."""

from django_jsonbuffer.apps import JSONBufferConfig


class OwnConfig(JSONBufferConfig):
    verbose_name = "The buffer of this project"
