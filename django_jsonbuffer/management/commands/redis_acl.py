from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.acl import ROLES, key_patterns
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.keys import validated_name


class Command(BaseCommand):
    help = (
        "Print the Redis command that makes a user who may do what its role needs, and nothing "
        "else. It asks and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "role",
            choices=ROLES,
            help="producer: a site that appends. drainer: a worker with drain_buckets. operator: "
            "both, and what the admin, the other commands and your own calls do besides.",
        )
        parser.add_argument(
            "bucket", nargs="*", help="Name of a bucket. All of the prefix, if there is none."
        )
        parser.add_argument(
            "--user", default="", help="Name of the user. Default: jsonbuffer-ROLE."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        try:
            names = [validated_name(name) for name in options["bucket"]]
            keys = key_patterns(configuration().prefix, names)
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
        user = options["user"] or f"jsonbuffer-{role}"
        rules = ["reset", "on", ">PASSWORD", *keys, *ROLES[role].permissions()]
        self.stdout.write(" ".join(["ACL SETUSER", user, *rules]))
