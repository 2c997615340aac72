"""A decision in plain Python: whichever branch is taken, the automatic ids fit on replay.

python -m examples.loan_approval [database]
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from romancy import Romancy, WorkflowContext, activity, workflow

GOOD_CREDIT = 700


@dataclass
class Decision:
    applicant: str
    approved: bool
    reason: str


@activity
async def check_credit(applicant: str) -> int:
    return 720 if applicant.endswith("7") else 640


@activity
async def approve(applicant: str) -> Decision:
    return Decision(applicant, approved=True, reason="good credit")


@activity
async def reject(applicant: str) -> Decision:
    return Decision(applicant, approved=False, reason="credit too low")


@workflow
async def loan_approval(ctx: WorkflowContext, applicant: str) -> Decision:
    score = await check_credit(applicant)
    if score >= GOOD_CREDIT:
        return await approve(applicant)
    return await reject(applicant)


async def main(url: str) -> list[Decision]:
    async with Romancy(url, workflows=[loan_approval]) as app:
        return [await app.run(loan_approval, applicant) for applicant in ("A-7", "B-3")]


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///loans.db")))
