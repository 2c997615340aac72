"""The files to copy for production: the commands in them run as processes, behind nginx with the file beside them."""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from romancy_conformance.servers.arrangements import Arrangement
from romancy_conformance.servers.debian import unpack
from romancy_conformance.servers.kinds import ServerUnavailableError
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.server import free_port
from romancy_conformance.servers.web_proxies import Upstream, WebProxy
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.long

FILES: Final = ROOT / "examples/production"
UNITS: Final = sorted((FILES / "systemd").glob("*.service"))
MANIFESTS: Final = sorted((FILES / "kubernetes").glob("*.yaml"))
ROLES: Final = ("migrate", "worker", "web", "dashboard")
GATE: Final = "the secret of the gate"


@dataclass(frozen=True, slots=True)
class Process:
    """What one of the files says about a process of the shop."""

    command: list[str]
    grace: float
    """How many seconds it has to end."""


def of_systemd(role: str) -> Process:
    (path,) = (each for each in UNITS if each.stem.rstrip("@") == f"shop-{role}")
    said = dict(re.findall(r"^(\w+)=(.*)$", path.read_text("utf-8"), re.MULTILINE))
    program, *arguments = shlex.split(said["ExecStart"])
    return Process([Path(program).name, *arguments], float(said.get("TimeoutStopSec", 90)))


def of_compose(role: str) -> Process:
    service = yaml.safe_load((FILES / "docker/compose.yaml").read_text("utf-8"))["services"][role]
    return Process(service["command"], float(service.get("stop_grace_period", "10s").removesuffix("s")))


def of_kubernetes(role: str) -> Process:
    first = next(yaml.safe_load_all((FILES / f"kubernetes/{role}.yaml").read_text("utf-8")))
    pod = first["spec"]["template"]["spec"]
    return Process(pod["containers"][0]["command"], float(pod.get("terminationGracePeriodSeconds", 30)))


WAYS: Final = {"systemd": of_systemd, "compose": of_compose, "kubernetes": of_kubernetes}


@dataclass(frozen=True, slots=True)
class ShopFile(Arrangement):
    """nginx with the file of the example."""

    web: int = 0
    dashboard: int = 0

    def settings(self, folder: Path, port: int, upstream: str) -> str:
        (folder / "users").write_text("ann:{PLAIN}lamp\nbob:{PLAIN}desk\n", "utf-8")
        (folder / "users").chmod(0o644)
        values = {"LISTEN": f"127.0.0.1:{port}", "NAME": "shop.example.com", "USERS": f"{folder}/users"}
        places = {"WEB": f"127.0.0.1:{self.web}", "DASHBOARD": f"127.0.0.1:{self.dashboard}", "DASHBOARD_GATE": GATE}
        text = Template((FILES / "nginx/shop.conf.template").read_text("utf-8")).safe_substitute(values | places)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        return f"{head}http {{\naccess_log off;\n{temporary}{text}\n}}\n"


@dataclass
class Shop:
    """The processes of the shop on this machine, started as one of the ways says, and its proxy."""

    way: str
    url: str
    stack: ExitStack
    ports: dict[str, int] = field(
        default_factory=lambda: {role: free_port() for role in ("worker", "web", "dashboard")}
    )

    def run(self, role: str) -> subprocess.Popen[bytes]:
        """Begin a process. It is killed at the end of the test if it still runs."""
        program, *arguments = WAYS[self.way](role).command
        command = [sys.executable, "-m", program, *arguments]
        if "--port" in command:
            command[command.index("--port") + 1] = str(self.ports[role])
        if "--host" in command:
            command[command.index("--host") + 1] = "127.0.0.1"
        settings = {"ROMANCY_URL": self.url, "DASHBOARD_GATE": GATE, "DASHBOARD_ADMINS": "ann"}
        process = subprocess.Popen(
            command, cwd=FILES, env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join([str(FILES), str(ROOT)])}
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def ends(self, role: str, process: subprocess.Popen[bytes]) -> None:
        """Tell a process to end, as all three do. It ends by itself, within the time that it has."""
        process.send_signal(signal.SIGTERM)
        ended = process.wait(WAYS[self.way](role).grace)
        assert ended in (0, -signal.SIGTERM), f"{role} ended with {ended}"

    def until_ready(self, role: str) -> None:
        while self.ask(self.ports[role], "GET", "/health/ready")[0] != 200:
            time.sleep(0.05)  # another process opens its app

    def ask(self, port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request(method, path, headers={"Host": "shop.example.com", **headers})
                with connection.getresponse() as response:
                    return response.status, response.read().decode()
        except ConnectionRefusedError:
            return 0, "nothing listens there"


@pytest.fixture
def proxy(shop: Shop) -> Generator[WebProxy]:
    arranged = ShopFile("nginx", "the file", web=shop.ports["web"], dashboard=shop.ports["dashboard"])
    try:
        proxy = WebProxy(arranged, Upstream(shop.ports["web"]))
        proxy.start()
    except ServerUnavailableError as error:
        do_without("nginx", error)
    with closing(proxy):
        yield proxy


@pytest.fixture(params=sorted(WAYS))
def shop(request: pytest.FixtureRequest, storage_url: str) -> Generator[Shop]:
    with ExitStack() as stack:
        yield Shop(request.param, storage_url, stack)


def who(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def until(shop: Shop, port: int, path: str, status: str) -> dict[str, Any]:
    while True:
        code, said = shop.ask(port, "GET", path)
        assert code == 200, said
        answer: dict[str, Any] = json.loads(said)
        if answer["status"] == status:
            return answer
        time.sleep(0.05)  # another process brings it about


@pytest.mark.backends("postgres")
class TestProcesses:
    def test_an_order_outlives_a_kill_and_a_deploy(self, shop: Shop, proxy: WebProxy) -> None:
        assert shop.run("migrate").wait() == 0
        assert shop.run("migrate").wait() == 0, "a second time"
        web, worker = shop.run("web"), shop.run("worker")
        shop.until_ready("web")

        assert (202, '{"id":"o-1"}') == shop.ask(proxy.port, "PUT", "/orders/o-1?item=lamp")
        assert 409 == shop.ask(proxy.port, "PUT", "/orders/o-1?item=desk")[0]
        until(shop, proxy.port, "/orders/o-1", "waiting")
        worker.kill()
        worker.wait()
        assert 202 == shop.ask(proxy.port, "POST", "/orders/o-1/payment")[0]
        worker = shop.run("worker")
        assert until(shop, proxy.port, "/orders/o-1", "completed")["result"] == "shelf 7: lamp is on its way"

        if shop.way == "kubernetes":
            shop.until_ready("worker")
            assert 401 == shop.ask(shop.ports["worker"], "GET", "/instances/o-1")[0]
        shop.ends("web", web)
        shop.ends("worker", worker)

    def test_the_dashboard_is_behind_a_password(self, shop: Shop, proxy: WebProxy) -> None:
        """Who is no admin only looks."""
        assert shop.run("migrate").wait() == 0
        dashboard = shop.run("dashboard")
        shop.run("web")
        shop.until_ready("web")
        shop.until_ready("dashboard")

        def page(**headers: str) -> int:
            return shop.ask(proxy.port, "GET", "/romancy/", **headers)[0]

        assert [401, 401, 200] == [page(), page(**who("ann", "desk")), page(**who("ann", "lamp"))]
        assert 401 == page(**{"X-User": "ann", "X-Gate": GATE})
        around = shop.ask(shop.ports["dashboard"], "GET", "/romancy/", **{"X-User": "ann", "X-Gate": "guessed"})
        assert 401 == around[0]

        assert 202 == shop.ask(proxy.port, "PUT", "/orders/o-1?item=lamp")[0]
        cancel = "/romancy/act/cancel/o-1"
        assert 200 == shop.ask(proxy.port, "GET", cancel, **who("ann", "lamp"))[0]
        assert 403 == shop.ask(proxy.port, "GET", cancel, **who("bob", "desk"))[0]
        shop.ends("dashboard", dashboard)


@pytest.mark.parametrize("role", ROLES[1:])
@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_ends_has_the_time_that_it_takes(way: str, role: str) -> None:
    process = WAYS[way](role)
    (option,) = (each for each in process.command if each in ("--drain", "--timeout-graceful-shutdown"))
    taken = float(process.command[process.command.index(option) + 1].removesuffix("s"))
    assert taken + 5 <= process.grace


@contextmanager
def program(name: str, package: str) -> Generator[str]:
    """A program of Debian's; a counted skip without it, and a failure in continuous integration."""
    try:
        found = shutil.which(name) or str(unpack(package, None) / "usr/bin" / name)
    except ServerUnavailableError as error:
        do_without(package, error)
    yield found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_units(path: Path, tmp_path: Path) -> None:
    """In a copy whose programs are those of this environment: systemd looks whether they are there."""
    for each in UNITS:
        text = each.read_text("utf-8").replace("/usr/local/lib/shop/venv/bin", str(Path(sys.executable).parent))
        (tmp_path / each.name).write_text(text.replace("User=shop\n", ""), "utf-8")
    with program("systemd-analyze", "systemd") as analyze:
        verified = subprocess.run(
            [analyze, "verify", "--man=no", tmp_path / path.name.replace("@.", "@1.")],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True,
            text=True,
            check=False,
        )
    about = [line for line in verified.stderr.splitlines() if "shop-" in line]
    assert (verified.returncode, about) == (0, [])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="hadolint has no wheel for this processor")
def test_the_image_file_is_clean() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), FILES / "docker/Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_what_the_manifests_say(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("kubernetes-validate"), "--strict", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_secret_and_setting_is_given_everywhere() -> None:
    """What shop.py and the proxy's file read, all three ways give."""
    names = set(re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', (FILES / "shop.py").read_text("utf-8")))
    proxy = set(re.findall(r"\$\{(\w+)\}", (FILES / "nginx/shop.conf.template").read_text("utf-8")))
    for given in ("systemd/shop.env", "docker/compose.yaml"):
        assert names <= set(re.findall(r"\b[A-Z_]{3,}\b", (FILES / given).read_text("utf-8"))), given
    for given in ("docker/compose.yaml", "kubernetes/dashboard.yaml", "README.md"):
        assert proxy <= set(re.findall(r"\b[A-Z_]{3,}\b", (FILES / given).read_text("utf-8"))), given
    settings = (FILES / "kubernetes/settings.yaml").read_text("utf-8")
    assert names <= set(re.findall(r"\b[A-Z_]{3,}\b", settings))
