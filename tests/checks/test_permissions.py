from collections.abc import Callable

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import ROLES, key_patterns
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.scripts import REFUSALS
from tests.checks.messages import found
from tests.server import Redis

pytestmark = pytest.mark.usefixtures("nothing_declared")

Become = Callable[..., None]


@pytest.fixture
def become(private_server: Redis, use_cache: Callable[..., str]) -> Become:
    """Lets the buffer connect as a user with these rules of ACL SETUSER."""
    private_server.config_set("appendonly", "yes")
    path = private_server.get_connection_kwargs()["path"]

    def become(*rules: str, database: int = 1) -> None:
        private_server.execute_command("ACL", "SETUSER", "app", "reset", "on", ">s3cret", *rules)
        use_cache(f"unix://app:s3cret@{path}?db={database}")

    return become


def keys(*names: str, prefix: str = "") -> list[str]:
    return key_patterns(prefix or configuration().prefix, names)


def declare(*names: str) -> None:
    """Processors declare the buckets."""
    for name in names:
        Bucket(name).processor(print)


class TestCommands:
    @pytest.mark.parametrize(
        ("role", "ids"),
        [("producer", ["W011"]), ("drainer", ["W012"]), ("operator", [])],
    )
    @pytest.mark.parametrize("names", [[], ["orders"]])
    def test_of_a_role_are_those_that_redis_acl_prints(
        self, become: Become, role: str, ids: list[str], names: list[str]
    ) -> None:
        declare("orders")
        become(*keys(*names), *ROLES[role].permissions())
        assert list(found(deploy=True)) == ids

    @pytest.mark.parametrize(
        "missing",
        [
            rule[1:]
            for rule in ROLES["producer"].permissions()[1:]
            if rule not in ("+info", "+publish", "+select", "+time")
        ],
    )
    def test_one_that_appends_need_is_an_error(self, become: Become, missing: str) -> None:
        become(*keys(), *ROLES["operator"].permissions(), f"-{missing}")
        messages = found(deploy=True)
        assert list(messages) == ["E008"]
        assert messages["E008"].msg.endswith(f"may not use {missing}.")
        assert "redis_acl producer" in str(messages["E008"].hint)

    def test_one_that_waits_is_needed_by_the_buckets_that_wait(
        self, become: Become, configure: Callable[..., None]
    ) -> None:
        declare("orders")
        become(*keys(), *ROLES["operator"].permissions())
        configure(BUCKETS={"orders": {"durability": "replicated"}})
        assert found(deploy=True)["E008"].msg.endswith("may not use wait.")
        become(*keys(), *ROLES["operator"].permissions(["replicated"]))
        assert "E008" not in found(deploy=True)

    @pytest.mark.parametrize("missing", ["xreadgroup", "xgroup|delconsumer", "script|load"])
    def test_one_that_workers_need_is_a_warning(self, become: Become, missing: str) -> None:
        become(*keys(), *ROLES["operator"].permissions(), f"-{missing}")
        messages = found(deploy=True)
        assert list(messages) == ["W011"]
        assert missing in messages["W011"].msg
        assert "cannot drain" in messages["W011"].msg
        assert "silence" in str(messages["W011"].hint)

    def test_one_that_the_admin_needs_is_a_warning(self, become: Become) -> None:
        become(*keys(), *ROLES["operator"].permissions(), "-smembers")
        messages = found(deploy=True)
        assert list(messages) == ["W012"]
        assert "smembers" in messages["W012"].msg

    def test_without_config_and_select_are_enough(self, become: Become) -> None:
        rules = (*keys(), *ROLES["operator"].permissions(), "-config|get", "-select")
        become(*rules, database=0)
        assert {*found(deploy=True)} <= {"W002"}  # the suite may use this database as well

    def test_of_nothing_is_one_error_without_a_password(self, become: Become) -> None:
        become("+select")
        messages = found(deploy=True)
        assert "E008" in messages
        assert "eval" in messages["E008"].msg
        assert "E009" not in messages
        assert "s3cret" not in str(messages)

    def test_are_not_known_before_redis_7(
        self, become: Become, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = REFUSALS.source.replace("redis.acl_check_cmd", "redis.no_such_function")
        monkeypatch.setattr(REFUSALS, "source", old)
        become(*keys(), *ROLES["producer"].permissions(), "-hset")
        assert list(found(deploy=True)) == []
        become(*keys(), *ROLES["producer"].permissions(), "-eval", database=2)
        assert list(found(deploy=True)) == ["E008"]


class TestKeys:
    def test_of_a_bucket_that_the_user_may_not_use(self, become: Become) -> None:
        declare("orders", "views")
        become(*keys("orders"), *ROLES["operator"].permissions())
        messages = found(deploy=True)
        assert list(messages) == ["E009"]
        assert "'views'" in messages["E009"].msg
        assert "'orders'" not in messages["E009"].msg
        assert "catalog" not in messages["E009"].msg

    def test_of_another_prefix(self, become: Become) -> None:
        declare("orders")
        become(*keys(prefix="another"), *ROLES["operator"].permissions())
        messages = found(deploy=True)
        assert list(messages) == ["E009"]
        assert "the keys of the catalog, of the bucket 'orders'." in messages["E009"].msg
        assert configuration().prefix in str(messages["E009"].hint)

    @pytest.mark.parametrize("pattern", ["~{}:{{orders}}", "~{}:{{orders}}:*", "%R~{}:*"])
    def test_of_which_only_some_may_be_used(self, become: Become, pattern: str) -> None:
        declare("orders")
        prefix = configuration().prefix
        rules = [f"~{prefix}:buckets", pattern.format(prefix)]
        become(*rules, *ROLES["operator"].permissions())
        assert list(found(deploy=True)) == ["E009"]

    def test_without_a_declared_bucket_are_those_of_the_catalog(self, become: Become) -> None:
        become("~another:*", *ROLES["operator"].permissions())
        assert "catalog" in found(deploy=True)["E009"].msg
