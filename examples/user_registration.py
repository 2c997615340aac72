"""Registering a user: three steps in sequence, each done once however often the process dies.

python -m examples.user_registration [database]
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from romancy import Romancy, WorkflowContext, activity, workflow


@dataclass
class UserInput:
    user_id: str
    email: str
    name: str


@dataclass
class Account:
    account_id: str
    email: str
    name: str


@dataclass
class UserResult:
    user_id: str
    account_id: str
    status: str


@activity
async def create_database_record(user_id: str, email: str, name: str) -> Account:
    print(f"Creating user {user_id} in database")
    return Account(f"ACC-{user_id}", email, name)


@activity
async def send_welcome_email(email: str, name: str) -> bool:
    print(f"Sending welcome email to {email}")
    return True


@activity
async def create_user_profile(account_id: str, name: str) -> str:
    print(f"Creating profile for {account_id}")
    return f"PROF-{account_id}"


@workflow
async def user_registration(ctx: WorkflowContext, user: UserInput) -> UserResult:
    account = await create_database_record(user.user_id, user.email, user.name)
    await send_welcome_email(account.email, account.name)
    await create_user_profile(account.account_id, account.name)
    return UserResult(user.user_id, account.account_id, status="completed")


async def main(url: str) -> UserResult:
    async with Romancy(url, workflows=[user_registration]) as app:
        handle = await app.start(user_registration, UserInput("user_123", "user@example.com", "John Doe"))
        print(f"Workflow started: {handle.instance_id}")
        return await handle.result(timeout=30)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///users.db")))
