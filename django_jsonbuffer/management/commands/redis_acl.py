from typing import Any

from django.core.management.base import CommandParser

from django_jsonbuffer import Bucket, catalog
from django_jsonbuffer.acl import OF_CLUSTER, ROLES, channel_rules, key_patterns
from django_jsonbuffer.conf import site_configuration
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.store.keys import validated_name


class Command(BufferCommand):
    help = (
        "Print the Redis command that creates a user with the permissions of a role, and no "
        "others. It does not connect to Redis."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "role",
            choices=ROLES,
            help="producer: a site that appends. drainer: a worker with drain_buckets. operator: "
            "both, and the admin, the other commands and your own calls.",
        )
        parser.add_argument(
            "bucket", nargs="*", help="Name of a bucket. Default: all buckets of the prefix."
        )
        parser.add_argument(
            "--user", default="", help="Name of the user. Default: jsonbuffer-ROLE."
        )

        parser.add_argument(
            "--cluster",
            action="store_true",
            help="Also allow what a client of a Redis Cluster needs. Create the user on each node.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        names = [validated_name(name) for name in options["bucket"]]
        prefix = site_configuration().prefix
        keys = [*key_patterns(prefix, names), *channel_rules(prefix)]
        user = options["user"] or f"jsonbuffer-{role}"
        buckets = map(Bucket, names) if names else catalog.declared_buckets()
        commands = ROLES[role].permissions(catalog.durabilities(buckets))
        rules = ["reset", "on", ">PASSWORD", *keys, *commands]
        rules += OF_CLUSTER if options["cluster"] else ()
        self.stdout.write(" ".join(["ACL SETUSER", user, *rules]))
        self.require_whole_output()
