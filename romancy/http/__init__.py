"""Events over HTTP: CloudEvents, webhooks, and workflows for programs in other languages.

It needs the extra: `pip install 'romancy[http]'`. `asgi(app)` is an ASGI application to mount or to run.
"""

from __future__ import annotations

try:
    from romancy.http._auth import Auth, anyone, bearer, local
    from romancy.http._identity import instance_id_of
    from romancy.http._ingress import Ingress, asgi
    from romancy.http._signatures import GitHub, StandardWebhooks, Stripe
    from romancy.http._webhooks import Delivery, VerificationError, Verified, Verifier, Webhook
    from romancy.web.visitor import Visitor
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"cloudevents", "starlette"}:
        raise
    raise ModuleNotFoundError(
        f"romancy.http needs {error.name}; install the extra: pip install 'romancy[http]'", name=error.name
    ) from None

__all__ = [
    "Auth",
    "Delivery",
    "GitHub",
    "Ingress",
    "StandardWebhooks",
    "Stripe",
    "VerificationError",
    "Verified",
    "Verifier",
    "Visitor",
    "Webhook",
    "anyone",
    "asgi",
    "bearer",
    "instance_id_of",
    "local",
]
