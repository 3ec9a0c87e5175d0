import pytest

from django_jsonbuffer.memory_redis.errors import ErrorReply
from django_jsonbuffer.memory_redis.streams import (
    FIRST,
    LAST,
    Delivery,
    Group,
    Id,
    Stream,
    end_of,
    start_of,
)


class TestId:
    def test_is_read_and_written(self) -> None:
        assert Id.read(b"5-7") == Id(5, 7)
        assert Id.read(b"5") == Id(5, 0)
        assert Id.read(b"5", missing=9) == Id(5, 9)
        assert bytes(Id(5, 7)) == b"5-7"

    @pytest.mark.parametrize("text", [b"", b"x", b"1-", b"-1", b"1-2-3", b"*", b"%d-0" % 2**64])
    def test_that_is_none(self, text: bytes) -> None:
        assert Id.parse(text) is None
        with pytest.raises(ErrorReply, match="ERR Invalid stream ID"):
            Id.read(text)

    def test_neighbours(self) -> None:
        assert Id(5, 7).next() == Id(5, 8)
        assert Id(5, 2**64 - 1).next() == Id(6, 0)
        assert Id(5, 7).previous() == Id(5, 6)
        assert Id(5, 0).previous() == Id(4, 2**64 - 1)

    def test_has_no_neighbour_at_the_ends(self) -> None:
        with pytest.raises(ErrorReply, match="invalid start ID"):
            LAST.next()
        with pytest.raises(ErrorReply, match="invalid end ID"):
            FIRST.previous()

    def test_bounds(self) -> None:
        assert (start_of(b"-"), end_of(b"+")) == (FIRST, LAST)
        assert (start_of(b"5"), end_of(b"5")) == (Id(5, 0), Id(5, 2**64 - 1))
        assert (start_of(b"(5-1"), end_of(b"(5-1")) == (Id(5, 2), Id(5, 0))


class TestStream:
    def test_gives_ids_of_the_time_that_never_go_back(self) -> None:
        stream = Stream()
        added = [stream.add(None, ms, [b"x", b"1"]) for ms in (5, 5, 9, 7)]
        assert added == [Id(5, 0), Id(5, 1), Id(9, 0), Id(9, 1)]
        assert stream.ids == added

    def test_gives_no_id_twice(self) -> None:
        stream = Stream()
        stream.remove([stream.add(None, 5, [b"x", b"1"])])
        assert stream.add(None, 5, [b"x", b"1"]) == Id(5, 1)

    def test_refuses_an_id_before_others(self) -> None:
        stream = Stream()
        stream.add(Id(5, 0), 0, [b"x", b"1"])
        for id in (Id(5, 0), Id(4, 9)):
            with pytest.raises(ErrorReply, match="equal or smaller"):
                stream.add(id, 0, [b"x", b"1"])

    def test_is_exhausted_behind_the_last_id(self) -> None:
        stream = Stream()
        stream.add(LAST, 0, [b"x", b"1"])
        with pytest.raises(ErrorReply, match="exhausted"):
            stream.add(None, 0, [b"x", b"1"])

    def test_between(self) -> None:
        stream = Stream()
        for ms in (1, 3, 5):
            stream.add(Id(ms, 0), 0, [b"x", b"1"])
        assert stream.between(Id(1, 0), Id(3, 0)) == [Id(1, 0), Id(3, 0)]
        assert stream.between(Id(2, 0), Id(9, 0)) == [Id(3, 0), Id(5, 0)]
        assert stream.between(Id(9, 0), Id(1, 0)) == []


def test_group_lists_deliveries_by_id() -> None:
    group = Group(
        FIRST, deliveries={Id(2, 0): Delivery(b"a", 0, 1), Id(1, 0): Delivery(b"b", 0, 1)}
    )
    assert group.pending() == [Id(1, 0), Id(2, 0)]
    assert group.held_by(b"a") == 1
