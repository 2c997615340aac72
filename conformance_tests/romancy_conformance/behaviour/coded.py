"""What the tests of codecs share, and a process that dies in the middle of a workflow whose log a codec writes.

python -m romancy_conformance.behaviour.coded URL --ledger FILE --fail WRITE
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy import Romancy, WorkflowContext, ZlibCodec, activity, workflow
from romancy_conformance.failpoint import Failpoint

if TYPE_CHECKING:
    from romancy import PayloadCodec, PayloadContext

__all__ = ["CHAINS", "SECRET", "Masking", "coded_errand", "main"]

SECRET: Final = "swordfish " * 40
LEDGER: Final = "ROMANCY_CODED_LEDGER"


class Masking:
    """Looks and behaves like encryption, but protects nothing."""

    _CHECK: Final = 8

    def __init__(self, key: bytes = b"a key", *, key_id: str = "1") -> None:
        self.id = f"mask:{key_id}"
        self._key = key

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes:
        nonce = os.urandom(8)
        check = hashlib.sha256(data).digest()[: self._CHECK]
        return nonce + self._mask(check + data, nonce, context)

    def decode(self, data: bytes, context: PayloadContext, /) -> bytes:
        both = self._mask(data[8:], data[:8], context)
        check, plain = both[: self._CHECK], both[self._CHECK :]
        if check != hashlib.sha256(plain).digest()[: self._CHECK]:
            raise ValueError("another key, or another place")
        return plain

    def _mask(self, data: bytes, nonce: bytes, context: PayloadContext) -> bytes:
        stream = hashlib.shake_256(self._key + nonce + context.as_bytes()).digest(len(data))
        return bytes(one ^ other for one, other in zip(data, stream, strict=True))


def compressing() -> ZlibCodec:
    return ZlibCodec(threshold=0)


CHAINS: Final[dict[str, tuple[PayloadCodec, ...]]] = {
    "compressing": (compressing(),),
    "masking": (Masking(),),
    "compressing and masking": (compressing(), Masking()),
}


@activity
def coded_step(number: int, secret: str) -> str:
    with Path(os.environ[LEDGER]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{number}\n")
    return f"{number} {secret}"


@workflow
async def coded_errand(ctx: WorkflowContext, secret: str) -> list[str]:
    return [await coded_step(number, secret) for number in range(4)]


async def work(url: str) -> None:
    """Start the errand, and wait until it is done or this process is killed."""
    async with Romancy(url, workflows=[coded_errand], codecs=CHAINS["compressing and masking"]) as app:
        await app.run(coded_errand.options(instance_id="errand"), SECRET)


def main() -> None:
    parser = argparse.ArgumentParser(prog="romancy_conformance.behaviour.coded", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--fail", required=True, help="the write at which the process dies")
    options = parser.parse_args()
    os.environ[LEDGER] = options.ledger
    Failpoint(options.fail).arm()
    asyncio.run(work(options.url))


if __name__ == "__main__":
    main()
