"""The messages of the system checks."""

from django.apps import apps
from django.core.checks import CheckMessage, run_checks

# The models of other apps are checked against the database, which these tests leave alone.
APP = apps.get_app_config("django_jsonbuffer")


def found(*, deploy: bool = False) -> dict[str, CheckMessage]:
    """The messages of this app, by the number of their id. Each must have a hint."""
    messages = [
        message
        for message in run_checks(app_configs=[APP], include_deployment_checks=deploy)
        if message.id and message.id.startswith("django_jsonbuffer.")
    ]
    assert all(message.hint for message in messages)
    return {str(message.id).rpartition(".")[2]: message for message in messages}
