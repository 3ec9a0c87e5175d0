import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in
from django.test import override_settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import options_of
from django_jsonbuffer.declarations import Declarations, Definition, declared
from django_jsonbuffer.encoding import OrjsonEncoder
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidBucketName, NoProcessor
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.patterns import Names
from tests.declaring.buckets import page_views
from tests.server import Redis


class TestHandles:
    def test_any_number_of_names_leaves_nothing_behind(self) -> None:
        before = len(declared.buckets)
        for number in range(1000):
            Bucket(f"user-{number}")
        assert len(declared.buckets) == before


class TestOptions:
    def test_handle_takes_those_of_the_declaration(self) -> None:
        assert options_of(Bucket("page-views")) == options_of(page_views)
        assert options_of(page_views).batch_size == 100

    def test_handle_wins_over_declaration_and_settings_over_both(
        self, configure: Callable[..., None]
    ) -> None:
        assert options_of(Bucket("page-views", batch_size=5)).batch_size == 5
        configure(BUCKETS={"page-views": {"batch_size": 7}})
        assert options_of(Bucket("page-views", batch_size=5)).batch_size == 7
        assert options_of(page_views).batch_size == 7

    def test_bad_setting_is_an_error_at_use(self, configure: Callable[..., None]) -> None:
        configure(BUCKETS={"orders": {"batch_size": "many"}})
        with pytest.raises(BufferMisconfigured, match="batch_size"):
            Bucket("orders").append(1)


class TestProcessor:
    def test_decorator_returns_the_function(self) -> None:
        def store(batch: Any) -> None: ...

        assert Bucket("orders").processor(store) is store

    def test_plain_call_serves_every_handle(self) -> None:
        got: list[Any] = []
        Bucket("orders").processor(got.extend)
        Bucket("orders").append(1)
        Bucket("orders").drain()
        assert got == [1]

    @pytest.mark.parametrize("function", ["store", 1, []])
    def test_what_cannot_be_called(self, function: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="callable"):
            Bucket("orders").processor(function)

    def test_coroutine_function_is_run_to_its_end(self) -> None:
        got: list[Any] = []

        async def store(batch: Any) -> None:
            await asyncio.sleep(0)
            got.extend(batch)

        bucket = Bucket("orders")
        bucket.processor(store)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert got == [1]

    def test_generator_would_not_run(self) -> None:
        def store(batch: Any) -> Any:
            yield from batch

        with pytest.raises(BufferMisconfigured, match="yield"):
            Bucket("orders").processor(store)

    def test_none_declared(self) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        with pytest.raises(NoProcessor, match="orders"):
            bucket.drain()
        assert bucket.status().pending == 1


PROCESSOR = Processor(len, None)


class TestDefinition:
    def test_makes_its_parts_once_for_a_setting(self, configure: Callable[..., None]) -> None:
        definition = Definition("orders", {})
        before = definition.parts
        assert definition.parts is before
        configure(PREFIX="another", ENCODER="orjson")
        assert definition.parts.store.keys.open == "another:{orders}"
        assert type(definition.parts.encoder) is OrjsonEncoder
        assert definition.parts.configuration.prefix == "another"

    def test_with_a_wrong_name_or_option_raises_at_once(self) -> None:
        with pytest.raises(InvalidBucketName):
            Definition("a b", {})
        with pytest.raises(BufferMisconfigured, match="batch_size"):
            Definition("orders", {"batch_size": 0})

    @pytest.mark.parametrize(
        ("name", "options", "error"),
        [
            ("a b", {}, InvalidBucketName),
            ("orders", {"batch_size": 0}, BufferMisconfigured),
        ],
        ids=["name", "option"],
    )
    def test_while_the_apps_are_loaded_raises_at_its_first_use(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        options: dict[str, Any],
        error: type[Exception],
    ) -> None:
        monkeypatch.setattr(apps, "ready", False)
        definition = Definition(name, options)
        assert isinstance(definition.fault, error)
        raised: list[Exception] = []
        for _ in range(2):
            with pytest.raises(error) as caught:
                definition.parts  # noqa: B018
            raised.append(caught.value)
        assert raised[0] is not raised[1]
        assert str(raised[0]) == str(raised[1]) == str(definition.fault)


def without_the_app() -> list[str]:
    return [name for name in settings.INSTALLED_APPS if name != "django_jsonbuffer"]


class TestInstalled:
    @pytest.mark.parametrize(
        "use",
        [
            lambda bucket: bucket.append(1),
            lambda bucket: bucket.extend([1]),
            lambda bucket: bucket.drain(),
            lambda bucket: bucket.status(),
            lambda bucket: bucket.take(),
            lambda bucket: bucket.dead.page(),
            lambda bucket: bucket.record(Group),
            lambda bucket: bucket.record_bulk([], "created"),
            lambda bucket: bucket.hook(user_logged_in),
        ],
        ids=["append", "extend", "drain", "status", "take", "dead", "record", "bulk", "hook"],
    )
    def test_bucket_of_an_app_that_is_missing_raises(
        self, use: Callable[[Bucket], object], client_of_server: Redis
    ) -> None:
        key = Bucket("orders").key
        with (
            override_settings(INSTALLED_APPS=without_the_app()),
            pytest.raises(BufferMisconfigured, match="'django_jsonbuffer' is not in INSTALLED_APP"),
        ):
            use(Bucket("orders"))
        assert not client_of_server.exists(key)

    @pytest.mark.parametrize(
        "name", ["django_jsonbuffer.apps.JSONBufferConfig", "tests.own_config.OwnConfig"]
    )
    def test_any_config_of_the_app_will_do(self, name: str) -> None:
        with override_settings(INSTALLED_APPS=[*without_the_app(), name]):
            Bucket("orders").append(1)

    def test_is_not_known_while_the_apps_are_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(apps, "apps_ready", False)
        assert Bucket("orders").key


class TestDeclarations:
    def test_keep_the_place_of_the_declaration(self) -> None:
        def declare() -> None:  # in the place of Bucket()
            own.declare(Definition("orders", {}))

        own = Declarations()
        declare()
        [declaration] = own.buckets
        file, _, line = declaration.place.rpartition(":")
        source = Path(__file__).read_text().splitlines()
        assert file == __file__
        assert source[int(line) - 1].strip() == "declare()"

    def test_merge_the_options_of_one_name(self) -> None:
        own = Declarations()
        own.declare(Definition("orders", {"batch_size": 2}))
        own.declare(Definition("others", {"batch_size": 5}))
        own.declare(Definition("orders", {"batch_bytes": 7}))
        assert own.options_of("orders") == {"batch_size": 2, "batch_bytes": 7}
        assert own.options_of("nothing") == {}

    def test_names_are_valid_and_sorted_and_each_is_there_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apps, "ready", False)
        own = Declarations()
        for name in ("b", "a", "b", "not a name"):
            own.declare(Definition(name, {}))
        for name in ("c", "a", "nor this"):
            own.add_processor(name, PROCESSOR)
        assert own.names == ["a", "b", "c"]

    def test_processor_is_that_of_the_name(self) -> None:
        own = Declarations()
        own.add_processor("orders", PROCESSOR)
        assert own.processor_of("orders") == PROCESSOR
        with pytest.raises(NoProcessor, match="'others'"):
            own.processor_of("others")

    @pytest.mark.parametrize(
        ("processor", "text"),
        [
            (Processor(5, None), "'orders' must be callable, not 5"),  # type: ignore[arg-type]
            (Processor(dict, None), "is the class dict. Give it an instance: dict"),
            (Processor(lambda batch: (yield), None), "is a generator"),
            (Processor(len, "archive"), "atomic='archive', but DATABASES has no such alias"),
        ],
        ids=["not callable", "class", "generator", "database"],
    )
    def test_processor_that_cannot_work_is_refused(self, processor: Processor, text: str) -> None:
        own = Declarations()
        with pytest.raises(BufferMisconfigured, match=text):
            own.add_processor("orders", processor)
        assert own.processors == {}

    def test_processors_of_one_name_are_rivals_while_the_apps_are_loaded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = [Processor(function, None) for function in (print, repr)]
        own = Declarations()
        with monkeypatch.context() as loading:
            loading.setattr(apps, "ready", False)
            for processor in (PROCESSOR, PROCESSOR, *others):
                own.add_processor("orders", processor)
        own.add_processor("orders", PROCESSOR)
        assert own.rivals == {"orders": [PROCESSOR, *others]}
        assert own.processor_of("orders") == PROCESSOR

    def test_with_a_wrong_name_does_not_change_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = Declarations()
        wrong: list[Any] = [7, None, "{*", "o rders*"]
        with monkeypatch.context() as loading:
            loading.setattr(apps, "ready", False)
            for name in (*wrong, "orders"):
                own.declare(Definition(name, {"batch_size": 2 if name == "orders" else 3}))
        assert own.options_of("orders") == {"batch_size": 2}
        assert own.options_of("{others") == own.options_of("o rders-1") == {}


@pytest.mark.usefixtures("nothing_declared")
class TestPatterns:
    def declare(self, monkeypatch: pytest.MonkeyPatch, **options: dict[str, Any]) -> None:
        with monkeypatch.context() as loading:
            loading.setattr(apps, "ready", False)
            for name, its_options in options.items():
                Bucket(name.replace("_", "-").replace("ANY", "*"), **its_options)

    def test_options_hold_for_all_names_that_match(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.declare(monkeypatch, tenant_ANY={"batch_size": 5})
        assert options_of(Bucket("tenant-42")).batch_size == 5
        assert options_of(Bucket("other")).batch_size == 1000

    def test_the_most_specific_wins_option_by_option(
        self, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
    ) -> None:
        self.declare(
            monkeypatch,
            tenant_42={"batch_size": 1},
            ANY={"batch_size": 4, "max_dead": 4, "priority": 4, "max_attempts": 4},
            tenant_4ANY={"batch_size": 2, "max_dead": 2},
            tenant_ANY={"batch_size": 3, "max_dead": 3, "priority": 3},
        )
        options = options_of(Bucket("tenant-42"))
        found = (options.batch_size, options.max_dead, options.priority, options.max_attempts)
        assert found == (1, 2, 3, 4)
        of_all = {"batch_size": 8, "max_dead": 8}
        configure(BUCKETS={"tenant-*": of_all, "tenant-42": {"max_dead": 9}})
        options = options_of(Bucket("tenant-42"))
        assert (options.batch_size, options.max_dead, options.priority) == (8, 9, 3)

    def test_processor_of_the_most_specific_pattern(self) -> None:
        got: list[tuple[str, str]] = []
        for name in ("*", "tenant-*", "tenant-4*", "tenant-42"):
            Bucket(name).processor(lambda batch, name=name: got.append((name, batch.bucket)))
        names = ["tenant-42", "tenant-43", "tenant-5", "other"]
        for name in names:
            Bucket(name).append(1)
            Bucket(name).drain()
        assert got == [*zip(["tenant-42", "tenant-4*", "tenant-*", "*"], names, strict=True)]
        assert declared.patterns == ["*", "tenant-*", "tenant-4*"]

    def test_has_no_events(self) -> None:
        for use in (
            lambda: Bucket("tenant-*").append(1),
            lambda: Bucket("tenant-*").drain(),
            lambda: Bucket("tenant-*").status(),
            lambda: Bucket("tenant-*").key,
        ):
            with pytest.raises(BufferMisconfigured, match=r"is a pattern.*Bucket\('tenant-42'\)"):
                use()

    def test_wrong_options_are_an_error_at_once(self) -> None:
        with pytest.raises(BufferMisconfigured, match="'tenant-\\*' has no option 'batchsize'"):
            Bucket("tenant-*", batchsize=5)

    @pytest.mark.parametrize("name", ["a b*", "{*}", "-*", "*" + "x" * 100])
    def test_wrong_name(self, name: str) -> None:
        with pytest.raises(InvalidBucketName):
            Bucket(name)

    def test_names_are_looked_at_once_and_not_for_each_bucket(
        self, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
    ) -> None:
        looked: list[Names] = []
        make = Names.__init__

        def look(names: Names, all_names: Iterable[str]) -> None:
            make(names, all_names)
            looked.append(names)

        names = [f"b{number}" for number in range(1000)]
        self.declare(monkeypatch, **{name: {"batch_size": 1} for name in names})
        for name in names:
            Bucket(name).processor(print)
        Bucket("tenant-*").processor(print)
        configure(BUCKETS={name: {"priority": 2} for name in names})
        monkeypatch.setattr(Names, "__init__", look)
        for name in (*names, "tenant-1", "tenant-2"):
            options = options_of(Bucket(name))
            size = 1 if name in names else 1000
            assert (options.batch_size, options.priority) == (size, 2 if name in names else 1)
            assert declared.find_processor(name) is not None
        assert [*map(len, [each.all for each in looked])] == [1000, 1000, 1]

    def test_names_that_come_later_are_seen(
        self, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
    ) -> None:
        assert declared.find_processor("b1") is None
        assert options_of(Bucket("b1")) == options_of(Bucket("b2"))
        Bucket("b*").processor(print)
        assert declared.find_processor("b1") is not None
        assert declared.patterns == ["b*"]
        declared.processors = {}
        assert declared.find_processor("b1") is None
        configure(BUCKETS={"b*": {"batch_size": 5}})
        assert options_of(Bucket("b1")).batch_size == 5
        configure(BUCKETS={"c*": {"batch_size": 5}})
        assert options_of(Bucket("b1")).batch_size == 1000
        self.declare(monkeypatch, bANY={"batch_size": 7})
        assert options_of(Bucket("b1")).batch_size == 7

    def test_buckets_of_one_pattern_share_their_options(
        self, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"tenant-*": {"batch_size": 5}, "tenant-b": {"linger": timedelta(0)}})
        first, second, other = (options_of(Bucket(f"tenant-{name}")) for name in "acb")
        assert first is second
        assert (first.batch_size, other.batch_size) == (5, 5)
        assert first.linger != other.linger == timedelta(0)
        given = options_of(Bucket("tenant-d", batch_size=6))
        assert given.batch_size == 5  # the setting wins
        configure(BUCKETS={"tenant-*": {"batch_size": 7}})
        assert options_of(Bucket("tenant-a")).batch_size == 7
        configure(BUCKETS={"tenant-*": {"batch_size": 0}})
        for name in ("tenant-a", "tenant-c"):
            with pytest.raises(BufferMisconfigured, match=f"Bucket '{name}': batch_size must be"):
                _ = options_of(Bucket(name))
