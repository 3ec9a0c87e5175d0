import pytest

from django_jsonbuffer import Bucket
from tests.prepared import make_old
from tests.server import Redis
from tests.test_show_buckets import bury, refused, show

pytestmark = pytest.mark.usefixtures("nothing_declared")


class TestLimits:
    def test_are_silent_while_they_hold(self, client_of_server: Redis) -> None:
        Bucket("orders").extend([1, 2])
        bury(client_of_server, "mails")
        show("--max-pending", "2", "--max-age", "60", "--max-dead", "1")

    @pytest.mark.parametrize(
        ("limit", "message"),
        [
            (("--max-pending", "1"), "orders: 2 pending, more than 1."),
            (
                ("--max-pending", "0"),
                "orders: 2 pending, more than 0.\nmails: 1 pending, more than 0.",
            ),
            (("--max-age", "60"), "orders: the oldest event is 3,600 s old, more than 60 s."),
            (("--max-dead", "0"), "mails: 1 dead letters, more than 0."),
        ],
    )
    def test_that_are_crossed_are_said_with_exit_code_1(
        self, client_of_server: Redis, limit: tuple[str, str], message: str
    ) -> None:
        Bucket("orders").extend([1, 2])
        make_old(client_of_server, "orders")
        bury(client_of_server, "mails")
        assert refused(*limit) == (message, 1)

    def test_are_those_of_the_buckets_that_are_named(self) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("mails").append(1)
        show("mails", "--max-pending", "1")
        assert refused("orders", "--max-pending", "1")[1] == 1
