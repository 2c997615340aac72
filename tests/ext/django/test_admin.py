"""The admin: who may look, what is shown, that nothing in it is taken for HTML; and `manage.py`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client, override_settings
from django.urls import reverse

from romancy import EventType, RetryPolicy, UsageError, WorkflowContext, ZlibCodec, activity, workflow
from romancy.ext.django import close_app, opened_app
from tests.ext.django.project import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAID = EventType("paid", None)
LIST = "/admin/romancy/instance/"


@activity(retry=RetryPolicy.none())
def explode(name: str) -> int:
    assert User.objects.count() >= 0
    raise ValueError(f"<b>{name}</b>")


@workflow
async def bursts(ctx: WorkflowContext, name: str) -> int:
    return await explode(name)


@workflow
async def waits(ctx: WorkflowContext, name: str) -> None:
    await ctx.wait_event(PAID)


@workflow
async def counts(ctx: WorkflowContext) -> int:
    return await count()


@activity
def count() -> int:
    return User.objects.count()


def wanted(**more: Any) -> Any:
    names = [f"{__name__}.{one}" for one in ("bursts", "waits", "counts")]
    return override_settings(ROMANCY={"WORKER": True, "WORKFLOWS": names, **more})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with the tables of Django's apps."""
    path = tmp_path_factory.mktemp("django") / "site.sqlite3"
    options = {"transaction_mode": "IMMEDIATE"}
    with project({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}):
        call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
        yield path


@pytest.fixture
def site(database: Path) -> Iterator[Path]:
    with wanted():
        yield database
        close_app()


def browser(name: str, *, staff: bool = True, permission: str | None = None, root: bool = False) -> Client:
    user, _ = User.objects.update_or_create(username=name, defaults={"is_staff": staff, "is_superuser": root})
    if permission is not None:
        user.user_permissions.add(Permission.objects.get(codename=permission))
    client = Client()
    client.force_login(user)
    return client


def test_what_the_list_and_the_page_show(site: Path) -> None:
    app = opened_app()
    name = "<i>odd/1 ?&</i>"
    with transaction.atomic():
        odd = app.start(bursts.options(instance_id=name), name, session=connection)
        app.start(waits.options(instance_id="quiet"), "</pre><script>", session=connection)
    with pytest.raises(Exception, match="explode"):
        odd.result(60)
    root = browser("root", root=True)
    assert "Workflow instances" in root.get("/admin/").content.decode()
    listed = root.get(LIST).content.decode()
    assert "&lt;i&gt;odd/1 ?&amp;&lt;/i&gt;" in listed
    assert "<i>" not in listed
    assert "quiet" not in root.get(LIST, {"q": "odd"}).content.decode()
    assert "odd" not in root.get(LIST, {"status": "waiting"}).content.decode()
    assert "quiet" not in root.get(LIST, {"workflow": "burst", "status": "no such one"}).content.decode()
    page = root.get(reverse("admin:romancy_instance_change", args=[name])).content.decode()
    assert "&lt;b&gt;&lt;i&gt;odd" in page
    assert "activity explode:1" in page
    quiet = root.get(reverse("admin:romancy_instance_change", args=["quiet"])).content.decode()
    assert "&lt;/pre&gt;&lt;script&gt;" in quiet
    assert "paid" in quiet
    assert root.get(LIST, {"page": "nonsense"}).status_code == 400
    assert root.get(reverse("admin:romancy_instance_change", args=["nobody"])).status_code == 404
    for path in (LIST, reverse("admin:romancy_instance_change", args=["quiet"])):
        assert root.post(path, {"action": "delete_selected"}).status_code in (200, 405)
    assert app.get_instance("quiet") is not None
    assert root.get(f"{LIST}add/").status_code == 404


def test_only_staff_with_the_permission_may_look(site: Path) -> None:
    page = reverse("admin:romancy_instance_change", args=["quiet"])
    for path in (LIST, page):
        assert Client().get(path).status_code == 302
        assert browser("guest", staff=False).get(path).status_code == 302
        assert browser("clerk").get(path).status_code == 403
    seeing = browser("auditor", permission="view_instance")
    assert seeing.get(LIST).status_code == 200


def test_what_a_codec_wraps_is_not_shown(database: Path) -> None:
    with wanted(OPTIONS={"codecs": [ZlibCodec()]}):
        opened_app().start(waits.options(instance_id="sealed"), "a secret", session=None)
        page = browser("root", root=True).get(reverse("admin:romancy_instance_change", args=["sealed"]))
        assert "a secret" not in page.content.decode()
        assert "A codec wraps it" in page.content.decode()
        close_app()


def test_a_plain_activity_has_a_fresh_connection(site: Path) -> None:
    assert opened_app().run(counts) == User.objects.count()
    assert opened_app() is opened_app()


def test_the_app_is_not_opened_inside_of_a_transaction_on_a_file(site: Path) -> None:
    with transaction.atomic(), pytest.raises(UsageError, match=r"before `atomic\(\)`"):
        opened_app()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"WORKERS": True}, "has the key 'WORKERS'"),
        ({"URL": "sqlite:///a.db", "DATABASE": "default"}, "both URL and DATABASE"),
        ({"DATABASE": "other"}, "DATABASES has default"),
        ({"WORKER": 1}, "True or False"),
        ({"WORKFLOWS": ["no.such.thing"]}, "no.such.thing"),
        ({"WORKFLOWS": ["django.setup"]}, "is no workflow"),
        ({"URL": 1}, "is a text"),
        ([], "is a dictionary"),
    ],
)
def test_a_wrong_setting_is_refused(database: Path, setting: Any, told: str) -> None:
    with override_settings(ROMANCY=setting):
        with pytest.raises(UsageError, match=told):
            opened_app()
        with pytest.raises(Exception, match=r"romancy\.E001"):
            call_command("check")


def test_manage_py_runs_the_commands_of_romancy(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with override_settings(ROMANCY={"URL": f"sqlite:///{tmp_path}/new.db"}):
        call_command("romancy_sql")
        assert "create table" in capsys.readouterr().out.lower()
        assert not (tmp_path / "new.db").exists()
        with pytest.raises(SystemExit) as ended:
            call_command("romancy", "migrate")
        assert ended.value.code == 0
        call_command("romancy_sql")
        assert "nothing to do" in capsys.readouterr().err
        with pytest.raises(SystemExit) as ended:
            call_command("romancy", "why", "nobody")
        assert ended.value.code == 3
        assert "ROMANCY_URL" not in os.environ, "it may hold a password, and is for these commands alone"
    with override_settings(ROMANCY={"URL": "nonsense"}), pytest.raises(CommandError, match="no scheme"):
        call_command("romancy_sql")
