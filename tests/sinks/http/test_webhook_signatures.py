import base64
import secrets
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.http.webhook_signatures import key_of, signature_headers


def a_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class TestSignatureHeaders:
    def test_are_those_of_the_reference_implementation(self) -> None:
        """The values are those of the tests of Standard Webhooks."""
        headers = signature_headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        )
        assert headers == {
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }

    def test_are_accepted_with_each_secret(self) -> None:
        old, new = a_secret(), a_secret()
        body = '[{"name":"Åsa ✓","n":12345678901234567890}]'.encode()
        headers = signature_headers("1-1-ab", int(time.time()), body, [new, old])
        for secret in (old, new):
            Webhook(secret).verify(body, {"webhook-id": "1-1-ab", **headers})
        with pytest.raises(WebhookVerificationError):
            Webhook(a_secret()).verify(body, {"webhook-id": "1-1-ab", **headers})
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(body, {"webhook-id": "1-1-ac", **headers})


class TestKeyOf:
    TEXT = base64.b64encode(bytes(range(25))).decode().rstrip("=")

    @pytest.mark.parametrize("secret", [f"whsec_{TEXT}==", f"whsec_{TEXT}", f"{TEXT}=="])
    def test_reads_base64(self, secret: str) -> None:
        assert key_of(secret) == bytes(range(25))

    @pytest.mark.parametrize(("length", "is_right"), [(23, 0), (24, 1), (64, 1), (65, 0)])
    def test_has_the_length_that_standard_webhooks_asks_for(
        self, length: int, is_right: bool
    ) -> None:
        secret = f"whsec_{base64.b64encode(bytes(length)).decode()}"
        if is_right:
            assert key_of(secret) == bytes(length)
        else:
            with pytest.raises(BufferMisconfigured, match="of 24 to 64 bytes"):
                key_of(secret)

    @pytest.mark.parametrize(
        "secret",
        ["", "whsec_", "whsec_AA", "mypassword", f"whsec_not base64!{TEXT}", "ä" + TEXT, 5, b"AA"],
    )
    def test_refuses_anything_else_and_does_not_quote_it(self, secret: object) -> None:
        with pytest.raises(BufferMisconfigured, match="base64") as raised:
            key_of(secret)
        assert "not base64!" not in str(raised.value)
