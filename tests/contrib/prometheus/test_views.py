from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.contrib.prometheus.views import metrics

TOKEN = "a token of 24 characters"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture(autouse=True)
def _urls(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.contrib.prometheus.urls"


def get(client: Client, authorization: str | None = None, **headers: str) -> Any:
    if authorization is not None:
        headers["authorization"] = authorization
    return client.get("/metrics", headers=headers)


class TestToken:
    @pytest.fixture(autouse=True)
    def _token(self, configure: Callable[..., None]) -> None:
        configure(METRICS_TOKEN=TOKEN)

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_opens_the_view_without_the_database(self, client: Client, scheme: str) -> None:
        assert get(client, f"{scheme} {TOKEN}").status_code == 200

    @pytest.mark.parametrize(
        "authorization",
        [
            *(None, "", "Bearer", "Bearer ", "Bearer None", f"Basic {TOKEN}", TOKEN),
            *(f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", "Bearer é"),
        ],
    )
    def test_is_asked_for(self, client: Client, authorization: str | None) -> None:
        response = get(client, authorization)
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
        assert b"jsonbuffer" not in response.content

    def test_is_enough_behind_the_middleware_that_requires_a_login(
        self, client: Client, settings: Settings
    ) -> None:
        required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
        assert get(client, f"Bearer {TOKEN}").status_code == 200

    def test_may_not_be_of_another_type(
        self, client: Client, configure: Callable[..., None]
    ) -> None:
        configure(METRICS_TOKEN=12345)
        with pytest.raises(ImproperlyConfigured, match="METRICS_TOKEN"):
            get(client, "Bearer 12345")


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer ", "Bearer None"])
def test_is_closed_without_a_token(
    client: Client, configure: Callable[..., None], token: str | None, authorization: str | None
) -> None:
    configure(METRICS_TOKEN=token)
    assert get(client, authorization).status_code == 401


@pytest.mark.django_db
class TestStaff:
    @pytest.mark.parametrize(
        ("is_staff", "is_active", "may_view", "status"),
        [
            (True, True, True, 200),
            (False, True, True, 401),
            (True, True, False, 401),
            (True, False, True, 401),
        ],
    )
    def test_may_see_them_with_the_permission(
        self, client: Client, is_staff: bool, is_active: bool, may_view: bool, status: int
    ) -> None:
        user = User.objects.create_user("ann", is_staff=is_staff, is_active=is_active)
        if may_view:
            user.user_permissions.add(Permission.objects.get(codename="view_bucket"))
        client.force_login(user)
        assert get(client).status_code == status

    def test_superuser_may(self, admin_client: Client) -> None:
        assert get(admin_client).status_code == 200

    def test_nobody_without_the_middleware(self, rf: RequestFactory) -> None:
        assert metrics(rf.get("/metrics")).status_code == 401


@pytest.mark.usefixtures("timed", "nothing_declared")
class TestResponse:
    @pytest.fixture
    def scraped(
        self, client: Client, configure: Callable[..., None]
    ) -> Callable[..., HttpResponse]:
        configure(METRICS_TOKEN=TOKEN)
        Bucket("orders").processor(lambda batch: None)
        Bucket("orders").append(1)
        Bucket("orders").drain()
        return lambda **headers: get(client, f"Bearer {TOKEN}", **headers)

    def test_is_read_by_the_parser_of_the_text_format(
        self, scraped: Callable[..., HttpResponse]
    ) -> None:
        response = scraped()
        assert response["Content-Type"].startswith("text/plain; version=")
        assert "no-store" in response["Cache-Control"]
        families = {each.name for each in text_string_to_metric_families(response.text)}
        assert {
            "jsonbuffer_state",
            "jsonbuffer_processed_events",
            "jsonbuffer_processor_seconds",
            "jsonbuffer_append_seconds",
        } <= families
        assert all(name.startswith("jsonbuffer_") for name in families)

    def test_is_read_by_the_parser_of_openmetrics(
        self, scraped: Callable[..., HttpResponse]
    ) -> None:
        response = scraped(accept=OPENMETRICS)
        assert response["Content-Type"].startswith("application/openmetrics-text; version=")
        families = {
            each.name: each for each in openmetrics.text_string_to_metric_families(response.text)
        }
        assert families["jsonbuffer_processed_events"].type == "counter"
        assert families["jsonbuffer_processor_seconds"].type == "histogram"

    def test_other_methods_are_refused(self, client: Client) -> None:
        assert client.post("/metrics").status_code == 405
        assert client.head("/metrics").status_code == 401

    def test_says_if_redis_is_away(
        self, client: Client, unreachable: str, configure: Callable[..., None]
    ) -> None:
        configure(METRICS_TOKEN=TOKEN)
        response = get(client, f"Bearer {TOKEN}")
        assert response.status_code == 200
        assert "jsonbuffer_redis_up 0.0" in response.text
