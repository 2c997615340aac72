"""Signatures of webhooks, held against the libraries and the published examples of those who make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from romancy.errors import UsageError
from romancy.http import GitHub, StandardWebhooks, Stripe, VerificationError, Verified
from tests.http.providers import sign_as_stripe
from tests.http.signing import BODY, NEW, NOW, OLD, standard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Verify = Callable[[bytes, Mapping[str, str]], Verified]

STRIPE_NEW, GITHUB_NEW = "whsec_new", "new secret"


def stripe(secret: str = STRIPE_NEW, *, body: bytes = BODY, at: float = NOW) -> dict[str, str]:
    made = sign_as_stripe(body.decode(), secret, math.floor(at))
    return {"stripe-signature": made.replace(",v1=", f",v0={'0' * 64},v1=")}


def github(secret: str = GITHUB_NEW, *, body: bytes = BODY) -> dict[str, str]:
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={signed}", "x-github-delivery": "guid-1", "x-github-event": "push"}


def present() -> float:
    return NOW


STANDARD = StandardWebhooks(OLD, NEW, now=present)
STRIPE = Stripe("whsec_old", "whsec_new", now=present)
GITHUB = GitHub("old secret", b"new secret")
ALL: list[Any] = [
    pytest.param(STANDARD, standard, (OLD, NEW), "webhook-signature", Verified("msg_1", "invoice.paid"), id="standard"),
    pytest.param(
        STRIPE, stripe, ("whsec_old", "whsec_new"), "stripe-signature", Verified("evt_1", "invoice.paid"), id="stripe"
    ),
    pytest.param(
        GITHUB, github, ("old secret", "new secret"), "x-hub-signature-256", Verified("guid-1", "push"), id="github"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("verify", "sign", "secrets", "header", "expected"), ALL)
def test_both_secrets_of_a_rotation_are_accepted(
    verify: Verify, sign: Callable[..., dict[str, str]], secrets: tuple[str, str], header: str, expected: Verified
) -> None:
    assert [expected, expected] == [verify(BODY, sign(secret)) for secret in secrets]


@pytest.mark.parametrize(("verify", "sign", "secrets", "header", "expected"), ALL)
def test_what_is_not_signed_by_them_is_refused(
    verify: Verify, sign: Callable[..., dict[str, str]], secrets: tuple[str, str], header: str, expected: Verified
) -> None:
    genuine = sign()
    other = sign("whsec_" + base64.b64encode(b"x" * 24).decode())
    cut = {header: genuine[header][:-1]}
    for body, headers in [
        (BODY + b" ", genuine), (b"", genuine), (BODY, other), (BODY, {}), (BODY, {**genuine, header: ""}),
        (BODY, {**genuine, **cut}), (BODY, {**genuine, header: genuine[header].replace("=", "é")}),
        (BODY, {**genuine, header: "v1,"}), (BODY, {**genuine, header: "sha256="}),
        (BODY, {**genuine, header: "t=1,v1="}),
    ]:  # fmt: skip
        with pytest.raises(VerificationError):
            verify(body, headers)


@pytest.mark.parametrize(("verify", "sign"), [(STANDARD, standard), (STRIPE, stripe)], ids=["standard", "stripe"])
def test_what_is_too_old_or_too_new_is_refused(verify: Verify, sign: Callable[..., dict[str, str]]) -> None:
    for at in (NOW - 300, NOW + 300):
        assert verify(BODY, sign(at=at))
    for at in (NOW - 301, NOW + 301, 0):
        with pytest.raises(VerificationError, match="s from the present"):
            verify(BODY, sign(at=at))


def test_the_time_is_signed() -> None:
    for headers in (
        {**standard(at=NOW - 400), "webhook-timestamp": f"{NOW:.0f}"},
        {**standard(), "webhook-id": "msg_2"},
    ):
        with pytest.raises(VerificationError, match="no signature"):
            STANDARD(BODY, headers)
    old = stripe(at=NOW - 400)["stripe-signature"].partition(",")[2]
    for signature in (
        f"t={NOW:.0f},{old}",
        f"t={NOW - 400:.0f},t={NOW:.0f},{old}",
        "t=-1,v1=0",
        "t=1e9,v1=0",
        "t=٣,v1=0",
    ):
        with pytest.raises(VerificationError):
            STRIPE(BODY, {"stripe-signature": signature})


def test_the_example_that_github_publishes() -> None:
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-delivery": "guid",
    }

    assert Verified("guid") == GitHub("It's a Secret to Everybody")(b"Hello, World!", headers)


def test_the_example_that_standard_webhooks_publishes() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1a,bm8= v1,bm8= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    verify = StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now=lambda: 1_614_265_330.0)

    assert Verified("msg_p5jXN8AQM9LWM0D4loKWxJek") == verify(b'{"test": 2432232314}', headers)


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8"), max_size=30), st.sampled_from(["v1", "v1a", "v2", ""]), st.booleans())
def test_it_agrees_with_the_library_of_standard_webhooks(text: str, version: str, genuine: bool) -> None:  # noqa: FBT001
    body = json.dumps({"text": text}).encode()
    now = datetime.now(UTC).timestamp()
    headers = standard(NEW if genuine else OLD, body=body, at=now)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1", version, 1)
    try:
        Webhook(NEW).verify(body, headers)
        expected = True
    except (WebhookVerificationError, ValueError):
        expected = False
    try:
        found = StandardWebhooks(NEW, now=lambda: now)(body, headers) == Verified("msg_1")
    except VerificationError:
        found = False

    assert expected == found


@pytest.mark.parametrize("verifier", [StandardWebhooks, GitHub, Stripe])
@pytest.mark.parametrize(
    "wrong", [[NEW, OLD], (NEW,), None, 5, {NEW}, bytearray(b"n" * 32)], ids=lambda given: type(given).__name__
)
def test_what_is_no_secret_is_refused_and_not_shown(verifier: Any, wrong: Any) -> None:
    for secrets in [(wrong,), (NEW, wrong)]:
        with pytest.raises(UsageError, match=rf"{verifier.__name__}\(first, second\)") as caught:
            verifier(*secrets)
        assert NEW not in str(caught.value)
        assert "nnn" not in str(caught.value)


def test_secrets_of_stripe_are_texts() -> None:
    with pytest.raises(UsageError, match="not bytes"):
        Stripe(b"whsec_new")  # type: ignore[arg-type]


@pytest.mark.parametrize("short", ["whsec_QUJD", "QUJD", b"ABC", base64.b64encode(b"a" * 15).decode(), b"a" * 15])
def test_a_secret_of_standard_webhooks_that_is_too_short_to_protect(short: str | bytes) -> None:
    with pytest.raises(UsageError, match="at least 16 bytes") as caught:
        StandardWebhooks(NEW, short)

    assert "QUJD" not in str(caught.value)
    StandardWebhooks(base64.b64encode(b"a" * 16).decode(), b"a" * 16)  # these are long enough


@pytest.mark.parametrize(
    "make",
    [StandardWebhooks, GitHub, Stripe, lambda: GitHub(""), lambda: Stripe("x", ""), lambda: StandardWebhooks("é")],
)
def test_a_verifier_without_a_secret_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="secret"):
        make()
