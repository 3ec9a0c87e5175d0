"""The page about monitoring: its examples, in real processes."""

import json
import subprocess
import sys
from typing import Any, Final

from django_jsonbuffer import Bucket
from tests.guides.pages import DOCS, Block, blocks
from tests.guides.projects import ROOT
from tests.signals import receivers_are_temporary
from tests.test_show_buckets import bury, environment

PAGE: Final = (DOCS / "monitoring.md").read_text()
TIMEOUT_SECONDS: Final = 60


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


class TestSentry:
    def test_gets_the_exception_of_the_processor(self, prefix: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.guides.sentry_site"],
            cwd=ROOT,
            env=environment(prefix),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        events = json.loads(done.stdout.splitlines()[-1])
        [line] = [event for event in events if "exception" not in event]
        assert line["logger"] == "django_jsonbuffer"
        event, *others = [event for event in events if "exception" in event]
        assert {each["tags"]["bucket"] for each in others} == {"orders"}
        [exception] = event["exception"]["values"]
        assert (exception["type"], exception["value"]) == ("ValueError", "no total")
        assert exception["stacktrace"]["frames"][-1]["function"] == "store"
        assert event["tags"]["bucket"] == "orders"
        batch = event["contexts"]["batch"]
        assert (batch["delivery"], batch["outcome"]) == (1, "halved")
