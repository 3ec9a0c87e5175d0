"""The page about monitoring: its examples, in real processes."""

from typing import Any, Final

from django_jsonbuffer import Bucket
from tests.guides.pages import DOCS, Block, blocks
from tests.signals import receivers_are_temporary
from tests.test_show_buckets import bury

PAGE: Final = (DOCS / "monitoring.md").read_text()


def block_with(text: str) -> Block:
    [found] = [block for block in blocks(PAGE) if text in block.code]
    return found


class TestSignals:
    def test_example(self, client_of_server: Any) -> None:
        mails: list[Any] = []
        namespace = {"orders": Bucket("orders"), "mail_admins": lambda *mail: mails.append(mail)}
        with receivers_are_temporary():
            exec(block_with("tell_support").code, namespace)
            bury(client_of_server, "mails")
            bury(client_of_server, "orders")
        text = "foreign: The value is not a JSON array of events."
        assert mails == [("1 dead letters in orders", text)]
