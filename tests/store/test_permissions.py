import pytest
import redis

from django_jsonbuffer.acl import ROLES, key_patterns
from django_jsonbuffer.conf import Configuration, configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.permissions import Refusals, read_refusals
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import port_of
from tests.test_embedded_redis import client_of


@pytest.fixture(scope="module")
def port(nodes: list[EmbeddedRedis]) -> int:
    """A port of a cluster with a user that may append to one bucket, but not use HSET."""
    rules = [*key_patterns("jsonbuffer", ["orders"]), *ROLES["producer"].permissions(), "-hset"]
    rules += ["+cluster|slots", "+cluster|shards", "+command"]
    for node in nodes:
        with client_of(node) as plain:
            plain.execute_command("ACL", "SETUSER", "app", "on", ">s3cret", *rules)
    return port_of(nodes[0])


# A pipeline of the RedisCluster of redis-py 6.2 passes an option that is deprecated.
@pytest.mark.filterwarnings("ignore:.*'cluster_error_retry_attempts':DeprecationWarning")
def test_of_a_cluster(port: int) -> None:
    user = redis.RedisCluster(host="127.0.0.1", port=port, username="app", password="s3cret")
    with user as clients["clustered"]:
        found = read_refusals(
            Configuration(cache="clustered"),
            ["EVAL", "EVALSHA", "GET", "HSET", "XGROUP|CREATE"],
            ["orders", *(f"views-{number}" for number in range(8))],
        )
    del clients["clustered"]
    assert found == Refusals(
        commands=frozenset({"HSET"}),
        catalog=False,
        buckets=[f"views-{number}" for number in range(8)],
    )


def test_of_a_server_that_is_away(unreachable: str) -> None:
    with pytest.raises(BufferUnavailable, match="cannot be reached"):
        read_refusals(configuration(), ["GET"], [])
