import re

from django_jsonbuffer.store import dead_letters
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.store.steps import append, bury, claimed


class TestNewToken:
    def test_is_a_field_of_each_batch_and_differs_from_call_to_call(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        bury(store, claimed(store))
        append(store, 2, 3, batch_size=1)
        append(store, 4)
        store.seal()
        dead_letters.replay(store, dead_letters.dead_ids(store, 10, last="+"))
        append(store, 5)
        for worker in "abcde":
            claimed(store, worker)
        batches = client_of_server.xrange(store.keys.batches)
        tokens = {fields[b"events"]: fields[b"token"].decode() for _, fields in batches}
        assert [*tokens] == [b"[2]", b"[3]", b"[4]", b"[[1]]", b"[5]"]
        assert tokens[b"[2]"] == tokens[b"[3]"]
        assert len({*tokens.values()}) == 4
        assert all(re.fullmatch("[0-9a-f]{8}", token) for token in tokens.values())
