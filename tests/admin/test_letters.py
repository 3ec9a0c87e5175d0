import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from itertools import islice
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.admin import letters
from django_jsonbuffer.dead_letters import DeadLetters
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.letter_searches import Found
from tests.admin.pages import (
    BUCKET,
    DOWNLOAD,
    LETTERS,
    PAGE,
    content,
    crumbs,
    fields,
    figures_of,
    group_key,
    texts,
)
from tests.prepared import bury, bury_by_failures, keys_of
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]

BOX = r'<input type="checkbox" name="letter" value="([0-9-]+)"'


def hide_card(event: Any) -> Any:
    return {**event, "card": "hidden"}


@pytest.fixture
def redacted(configure: Callable[..., None]) -> None:
    configure(BUCKETS={"orders": {"redact": hide_card}})


def lines(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.getvalue().splitlines()]


class TestPage:
    def test_shows_each_with_its_traceback(self, admin_client: Client) -> None:
        def divide(batch: Batch) -> None:
            raise ValueError("no total")

        orders = Bucket("orders", lease=timedelta(0), max_attempts=1)
        bury_by_failures(orders, {"total": None}, divide)
        response = admin_client.get(LETTERS)
        event, error, traceback = texts(response)
        assert event == "{\n  &quot;total&quot;: null\n}"
        assert '<th scope="row">total</th><td><code>null</code></td>' in content(response)
        assert error == "ValueError: no total"
        assert traceback.startswith("Traceback (most recent call last):\n")
        assert "in divide" in traceback
        shown = figures_of(response)
        assert shown["Failed attempts"] == "1"
        [letter] = orders.dead
        assert shown["Batch"] == letter.batch

    def test_shows_a_page_at_a_time(self, admin_client: Client) -> None:
        orders = bury(*range(45))
        ids = [letter.id for letter in orders.dead]
        first = content(admin_client.get(LETTERS))
        assert re.findall(BOX, first) == ids[:20]
        assert f'<a href="?after={ids[19]}">Next</a>' in first
        assert ">Oldest</a>" not in first
        second = content(admin_client.get(LETTERS, {"after": ids[19]}))
        assert re.findall(BOX, second) == ids[20:40]
        last = content(admin_client.get(LETTERS, {"after": ids[39]}))
        assert re.findall(BOX, last) == ids[40:]
        assert 'href="?after=' not in last
        assert '<a href="?">Oldest</a>' in last

    @pytest.mark.parametrize("after", ["x", "1-1)", "-", "99999999999999999999-1"])
    def test_of_a_place_that_there_is_not_is_not_found(
        self, admin_client: Client, after: str
    ) -> None:
        Bucket("orders").append(1)
        assert admin_client.get(LETTERS, {"after": after}).status_code == 404

    def test_without_letters_says_so(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "There are none." in content(admin_client.get(LETTERS))

    def test_of_no_bucket_is_not_found(self, admin_client: Client) -> None:
        assert admin_client.get(LETTERS).status_code == 404

    def test_shows_markup_as_text(self, admin_client: Client) -> None:
        markup = "<script>alert(document)</script><b>{{ x|add:y }}</b>"
        bury(markup, reason=f"{markup} & more")
        bucket_page = admin_client.get(BUCKET)
        for response in (
            admin_client.get(LETTERS),
            admin_client.get(LETTERS, {"q": markup}),
            admin_client.get(LETTERS, {"group": f"{markup} & more"}),
            admin_client.get(LETTERS, {"group": group_key(bucket_page, f"{markup} & more")}),
        ):
            assert "<script>alert" not in response.content.decode()
            assert "<b>" not in content(response)
        event, error = texts(admin_client.get(LETTERS))
        assert all(
            "&lt;script&gt;alert(document)&lt;/script&gt;" in text for text in (event, error)
        )
        assert all("{{ x|add:y }}" in text for text in (event, error))

    def test_leads_back_to_the_bucket(self, admin_client: Client) -> None:
        bury(1)
        page = admin_client.get(LETTERS).content.decode()
        assert "<h1>Dead letters of orders</h1>" in page
        assert crumbs(page) == (
            ["/admin/", "/admin/django_jsonbuffer/", PAGE, BUCKET],
            "Home JSON buffer Buckets orders Dead letters",
        )

    @pytest.mark.usefixtures("redacted")
    def test_shows_nothing_that_is_to_be_redacted(self, admin_client: Client) -> None:
        bury(
            {"card": "4111-1111"},
            {"card": "4111-1111", "x": "y" * 100_000},
            reason=ValueError("card 4111-1111"),
        )
        page = admin_client.get(LETTERS).content.decode()
        assert "4111-1111" not in page
        assert page.count("&quot;card&quot;: &quot;hidden&quot;") == 1
        assert page.count("is too large to be redacted") == 1

    @pytest.mark.usefixtures("unreachable")
    @pytest.mark.parametrize("path", [LETTERS, DOWNLOAD])
    def test_of_a_redis_that_is_away_is_said_with_status_503(
        self, admin_client: Client, path: str
    ) -> None:
        response = admin_client.get(path)
        assert response.status_code == 503
        assert "Redis cannot be reached" in content(response)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    @pytest.mark.parametrize("path", [LETTERS, DOWNLOAD])
    def test_only_reading_is_allowed(self, admin_client: Client, path: str, method: str) -> None:
        bury(1)
        assert getattr(admin_client, method)(path).status_code == 405

    def test_has_an_address_on_each_site(self, admin_client: Client) -> None:
        bury(1)
        path = LETTERS.replace("/admin/", "/second/")
        page = admin_client.get(path).content.decode()
        assert 'formaction="/second/django_jsonbuffer/bucket/orders/replay/"' in page
        assert f'href="{path}download/?"' in page
        assert "/admin/django_jsonbuffer/" not in page


class TestSearch:
    """For a text in events and errors, or for an id."""

    def test_finds_a_text_in_events_errors_and_ids(self, admin_client: Client) -> None:
        first = bury({"mail": "ann@example.com"}, reason=KeyError("id"))
        bury({"mail": "bob@example.com"}, reason=ValueError("no total"))
        [ann, bob] = [letter.id for letter in first.dead]
        for text, found in (
            ("ann@", [ann]),
            (" BOB@example ", [bob]),
            ("no total", [bob]),
            ("keyerror", [ann]),
            (ann, [ann]),
            ("example", [ann, bob]),
            ("nobody", []),
        ):
            assert re.findall(BOX, content(admin_client.get(LETTERS, {"q": text}))) == found
        page = content(admin_client.get(LETTERS, {"q": "nobody"}))
        assert 'name="q" value="nobody"' in page
        assert 'No dead letter matches. <a href="?">Show all</a>' in page

    def test_goes_on_to_the_next_page(self, admin_client: Client) -> None:
        orders = bury(*["odd", "even"] * 25)
        odd = [letter.id for letter in orders.dead if letter.event == "odd"]
        first = content(admin_client.get(LETTERS, {"q": "odd"}))
        assert re.findall(BOX, first) == odd[:20]
        [link] = re.findall(r'<a href="([^"]*)">Next</a>', first)
        second = content(admin_client.get(LETTERS + unescape(link)))
        assert re.findall(BOX, second) == odd[20:]
        assert '<a href="?q=odd">Oldest</a>' in second
        assert "Next</a>" not in second

    def test_says_that_it_has_not_looked_at_all(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders = bury(1, 2)
        found = orders.dead.find(1)
        found = Found(letters=[], next_after=found.letters[0].id, is_complete=False)
        monkeypatch.setattr(DeadLetters, "find", lambda *args, **options: found)
        page = content(admin_client.get(LETTERS, {"q": "x"}))
        assert "There are too many dead letters to search them all at once." in page
        assert f'<a href="?q=x&amp;after={found.next_after}">Next</a>' in page

    @pytest.mark.usefixtures("redacted")
    def test_does_not_look_into_what_is_hidden(self, admin_client: Client) -> None:
        """Otherwise, the number of letters found would tell what is hidden."""
        orders = bury({"card": "4111-1111"}, reason=ValueError("card 4711-4711"))
        for text, count in (("4111-1111", 0), ("4711-4711", 0), ("card", 0), ("ValueError", 1)):
            page = content(admin_client.get(LETTERS, {"q": text}))
            assert len(re.findall(BOX, page)) == count
        newest = [*orders.dead][-1].id
        assert re.findall(BOX, content(admin_client.get(LETTERS, {"q": newest}))) == [newest]
        assert "Events are not searched, because this bucket hides parts of them." in page


class TestGroup:
    """The parameter `group` of the page and of the download."""

    @pytest.fixture
    def ids(self) -> list[str]:
        bury("a", reason=KeyError("id"))
        orders = bury("b", "cherry", reason=ValueError("no total"))
        return [letter.id for letter in orders.dead]

    @pytest.fixture
    def group(self, ids: list[str], admin_client: Client) -> dict[str, str]:
        """The parameter for the second group."""
        return {"group": group_key(admin_client.get(BUCKET), "ValueError: no total")}

    def test_leaves_the_others_out(
        self, admin_client: Client, ids: list[str], group: dict[str, str]
    ) -> None:
        page = content(admin_client.get(LETTERS, group))
        key = group["group"]
        assert re.findall(BOX, page) == ids[1:]
        assert f'<option value="{key}" selected>ValueError: no total</option>' in page
        assert f'{DOWNLOAD}?group={key}">Download those that match</a>' in page
        everything = content(admin_client.get(LETTERS, {"group": ""}))
        assert re.findall(BOX, everything) == ids
        assert f'{DOWNLOAD}?">Download</a>' in everything
        assert f'<option value="{key}">' in everything

    def test_is_searched(self, admin_client: Client, ids: list[str], group: dict[str, str]) -> None:
        page = content(admin_client.get(LETTERS, {**group, "q": "cherry"}))
        assert re.findall(BOX, page) == ids[2:]

    def test_that_there_is_not_is_empty(self, admin_client: Client, ids: list[str]) -> None:
        """Also if it is the name of a group, which may quote an event."""
        for key in ("nothing like that", "ValueError: no total"):
            response = admin_client.get(LETTERS, {"group": key})
            assert re.findall(BOX, content(response)) == []
            assert "No dead letter matches." in content(response)
            assert admin_client.get(DOWNLOAD, {"group": key}).getvalue() == b""

    @pytest.mark.usefixtures("redacted")
    def test_is_named_by_its_class_where_events_are_redacted(self, admin_client: Client) -> None:
        bury({"card": "x"}, reason=ValueError("card of Ann"))
        bury({"card": "x"}, reason=KeyError("id"))
        page = content(admin_client.get(LETTERS))
        assert "Ann" not in page
        options = re.findall(r"<option[^>]*>(.*?)</option>", page)
        assert options[0] == "all errors"
        assert sorted(options[1:]) == ["KeyError", "ValueError"]


class TestDownload:
    def test_has_a_line_for_each(self, admin_client: Client) -> None:
        orders = bury({"n": 12345678901234567890}, "ä\n", reason=ValueError("no total"))
        response = admin_client.get(DOWNLOAD)
        assert response.status_code == 200
        assert response["Content-Type"] == "application/x-ndjson"
        assert response["Content-Disposition"] == (
            'attachment; filename="orders-dead-letters.ndjson"'
        )
        assert "no-store" in response["Cache-Control"]
        found = lines(response)
        assert [each["event"] for each in found] == [{"n": 12345678901234567890}, "ä\n"]
        assert [each["id"] for each in found] == [letter.id for letter in orders.dead]
        assert {each["error"] for each in found} == {"ValueError: no total"}

    def test_is_a_file_whose_name_every_system_takes(self, admin_client: Client) -> None:
        Bucket("eu:orders").append(1)
        response = admin_client.get(f"{PAGE}eu_3Aorders/dead-letters/download/")
        assert 'filename="eu_orders-dead-letters.ndjson"' in response["Content-Disposition"]

    def test_of_no_letter_is_empty(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert admin_client.get(DOWNLOAD).getvalue() == b""

    def test_has_those_that_match(self, admin_client: Client) -> None:
        bury("odd", "even", reason=ValueError("no total"))
        bury("odd", reason=KeyError("id"))
        group = {"group": group_key(admin_client.get(BUCKET), "ValueError: no total")}
        for query, found in (
            ({"q": "odd"}, ["odd", "odd"]),
            (group, ["odd", "even"]),
            ({**group, "q": "odd"}, ["odd"]),
            ({"group": "", "q": ""}, ["odd", "even", "odd"]),
            ({"q": "nobody"}, []),
        ):
            assert [each["event"] for each in lines(admin_client.get(DOWNLOAD, query))] == found

    def test_reads_many_in_portions(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(letters, "_DOWNLOADED_AT_ONCE", 2)
        bury(*range(5))
        assert [each["event"] for each in lines(admin_client.get(DOWNLOAD))] == [0, 1, 2, 3, 4]

    def test_leaves_out_those_that_are_buried_meanwhile(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise, it might never end."""
        monkeypatch.setattr(letters, "_DOWNLOADED_AT_ONCE", 1)
        bury(1, 2)
        got = []
        response: Any = admin_client.get(DOWNLOAD)
        for line in islice(response.streaming_content, 10):
            got.append(json.loads(line)["event"])
            bury(3)
        assert got == [1, 2]

    @pytest.mark.usefixtures("redacted")
    def test_has_nothing_that_is_to_be_redacted(self, admin_client: Client) -> None:
        bury({"card": "4111-1111"}, reason=ValueError("card 4111-1111"))
        response = admin_client.get(DOWNLOAD)
        [line] = lines(response)
        assert b"4111-1111" not in response.getvalue()
        assert (line["event"], line["error"]) == ({"card": "hidden"}, "ValueError")

    def test_needs_the_permission_to_view_events(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury("secret")
        for codenames, status in (
            (["view_bucket", "view_events"], 200),
            (["view_bucket", "change_bucket", "delete_events", "drain_bucket"], 403),
            (["view_events", "delete_events", "drain_bucket"], 403),
            ([], 403),
        ):
            grant(*codenames)
            for path in (DOWNLOAD, LETTERS):
                assert staff_client.get(path).status_code == status

    def test_that_cannot_begin_is_a_page_and_no_file(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        client_of_server.lpush(keys_of("orders").dead, "foreign")
        response = admin_client.get(DOWNLOAD)
        assert response.status_code == 503
        assert "holds a value of another type" in content(response)
        assert "Content-Disposition" not in response

    def test_breaks_off_if_redis_ends_it(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch, private_server: Redis
    ) -> None:
        """So that nobody takes a part for the whole."""
        monkeypatch.setattr(letters, "_DOWNLOADED_AT_ONCE", 1)
        bury(1, 2)
        got: list[bytes] = []
        response: Any = admin_client.get(DOWNLOAD)
        with pytest.raises(BufferUnavailable):
            for line in response.streaming_content:
                got.append(line)
                private_server.shutdown(nosave=True)
        assert len(got) == 1


class TestDownloadOverASGI:
    @pytest.fixture
    def admin_over_asgi(self, admin_user: User) -> AsyncClient:
        client = AsyncClient()
        client.force_login(admin_user)
        return client

    @staticmethod
    @async_to_sync
    async def read(client: AsyncClient) -> list[Any]:
        response: Any = await client.get(DOWNLOAD)
        assert response.is_async
        pages = [page async for page in response.streaming_content]
        assert len(pages) == 3
        return [json.loads(line)["event"] for page in pages for line in page.splitlines()]

    def test_is_a_stream(
        self, admin_over_asgi: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(letters, "_DOWNLOADED_AT_ONCE", 2)
        bury(*range(5))
        assert self.read(admin_over_asgi) == [0, 1, 2, 3, 4]

    def test_breaks_off_at_an_error(
        self, admin_over_asgi: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bury(1, 2)

        def fail(self: object, *args: object, **options: object) -> Iterator[Any]:
            raise BufferUnavailable("Redis is away.")

        monkeypatch.setattr(DeadLetters, "find", fail)
        with pytest.raises(BufferUnavailable):
            self.read(admin_over_asgi)


class TestWayBack:
    """An action leads back to the page of dead letters from which it was asked for."""

    def test_is_to_the_same_letters(self, admin_client: Client) -> None:
        orders = bury("a", "b")
        first, second = (letter.id for letter in orders.dead)
        page = content(admin_client.get(LETTERS, {"q": "a", "after": ""}))
        assert '<input type="hidden" name="letters" value="?q=a">' in page
        sent = {"letter": first, "letters": "?q=a"}
        asked = admin_client.post(f"{PAGE}orders/replay/", sent)
        assert fields(asked)["letters"] == ["q=a"]
        assert f'href="{LETTERS}?q=a"' in content(asked)
        done = admin_client.post(f"{PAGE}orders/replay/", {**sent, "confirmed": "1"})
        assert done["Location"] == f"{LETTERS}?q=a"
        assert [letter.id for letter in orders.dead] == [second]

    def test_never_leads_elsewhere(self, admin_client: Client) -> None:
        bury(1)
        sent = {"letters": "//evil.example/\r\nX: y"}
        response = admin_client.post(f"{PAGE}orders/replay/", sent)
        assert response["Location"].startswith(f"{LETTERS}?%2F%2Fevil.example")


class TestSearchForAnId:
    def test_finds_one_among_thousands(self, admin_client: Client) -> None:
        orders = Bucket("orders", batch_size=1000)

        def refuse(batch: Batch) -> None:
            for event in batch:
                batch.reject(event, "no good")

        orders.processor(refuse)
        orders.extend(range(11_000))
        orders.drain()
        newest = orders.dead.newest() or ""
        assert re.findall(BOX, content(admin_client.get(LETTERS, {"q": newest}))) == [newest]
        page = content(admin_client.get(LETTERS, {"q": "no such text"}))
        assert "None of those that were searched so far matches." in page
        assert ">Next</a>" in page


class TestLargeLetters:
    def test_are_downloaded_in_bounded_memory(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        event = b'"%b"' % (b"x" * 1_000_000)
        for _ in range(40):
            client_of_server.xadd(keys_of("orders").dead, {"event": event, "error": "e"})
        response: Any = admin_client.get(DOWNLOAD)
        pages = [*response.streaming_content]
        assert max(map(len, pages)) < 14_000_000
        assert sum(page.count(b"\n") for page in pages) == 40
