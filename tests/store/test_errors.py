from typing import Any

import pytest
import redis

from django_jsonbuffer import Bucket
from tests.server import Redis


class TestFailure:
    def test_interrupted_command_leaves_no_reply_to_the_next(
        self, private_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        bucket = Bucket("orders")
        bucket.extend([1, 2])
        bucket.peek()  # so that the server knows the script
        # So that the reply comes long after the client has given the connection back.
        private_server.execute_command("CLIENT", "PAUSE", 200)
        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "parse_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bucket.peek()
        assert bucket.status().pending == 2
