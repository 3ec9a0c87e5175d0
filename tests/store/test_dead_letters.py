from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.store import dead_letters
from django_jsonbuffer.store.claims import Burial
from django_jsonbuffer.store.store import Store
from tests.store.steps import append, claimed


class TestGlance:
    """Large values are cut on the server before they are shown."""

    def test_dead_letters_are_cut_and_tell_their_size(self, store: Store) -> None:
        append(store, "x" * 100, 2, batch_size=2)
        held = claimed(store)
        burials = [Burial(*span, "no") for span in spans(held.array)]
        store.bury(held, burials, processed=0, failures=1)
        large, small = dead_letters.list_dead(store, 10, most_bytes=10)
        assert large.fields["event"] == b'"xxxxxxxxx'
        assert large.fields["event_bytes"] == b"102"
        assert small.fields["event"] == b"2"
        assert "event_bytes" not in small.fields
        assert [len(letter.fields["event"]) for letter in dead_letters.list_dead(store, 10)] == [
            102,
            1,
        ]
