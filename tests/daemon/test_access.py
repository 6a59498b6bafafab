"""Who may look, and who may change something: asked as other users, and told apart by the kernel's word."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.daemon.house import Vmd
from vmd.daemon.routes import ROUTES

PYTHON = "/usr/bin/python3"
"""One that every user may run; the tests' own may lie in somebody's home."""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else"),
    pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"there is no {PYTHON}"),
]

ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(sys.argv[1])
    except PermissionError:
        print("no")
        raise SystemExit
    connection.sendall(sys.argv[2].encode())
    with connection.makefile("rb") as answer:
        print(answer.read().decode())
"""

RIGHTS = "access: {read: {groups: [adm]}, write: {users: [games], groups: [operator]}}\n"


class Who(NamedTuple):
    """A user by number, and the groups it is in."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def who(user: str, *groups: str) -> Who:
    found = pwd.getpwnam(user)
    return Who(found.pw_uid, found.pw_gid, tuple(grp.getgrnam(name).gr_gid for name in groups))


NOBODY = who("nobody")


def ask(vmd: Vmd, one: Who, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Ask as another; the status and the body, status 0 where one may not even connect."""
    path = path if path.startswith("/") else f"/v1/{path}"
    content = "" if body is None else json.dumps(body)
    request = f"{method} {path} HTTP/1.0\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    argv = (PYTHON, "-I", "-c", ASK, str(vmd.socket), request)
    done = subprocess.run(
        argv,
        user=one.uid,
        group=one.gid,
        extra_groups=one.groups,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout == "no\n":
        return 0, ""
    head, _, rest = done.stdout.partition("\n\n")
    return int(head.split()[1]), rest


@pytest.fixture
def shared(home: Vmd) -> Vmd:
    """A running vmd that others may talk to, with a guest that is defined."""
    (home.config / "vmd.yaml").write_text(RIGHTS)
    home.define_tiny("alice")
    home.start()
    return home


@pytest.mark.parametrize(
    ("one", "read", "write"),
    [
        pytest.param(NOBODY, False, False, id="a-stranger"),
        pytest.param(who("nobody", "adm"), True, False, id="a-reader-by-a-group"),
        pytest.param(who("nobody", "operator"), True, True, id="a-writer-by-a-group"),
        pytest.param(who("games"), True, True, id="a-writer-by-name"),
        pytest.param(who("root"), True, True, id="root"),
        pytest.param(Who(NOBODY.uid, grp.getgrnam("adm").gr_gid), True, False, id="a-reader-by-the-first-group"),
        pytest.param(Who(NOBODY.uid, NOBODY.gid, tuple(range(70000, 70200))), False, False, id="in-many-groups"),
    ],
)
def test_rights(shared: Vmd, one: Who, read: bool, write: bool) -> None:
    assert ask(shared, one, "GET", "guests")[0] == (200 if read else 403)
    assert ask(shared, one, "POST", "wait", {"guest": "alice", "rung": "ssh"})[0] == (200 if read else 403)
    assert ask(shared, one, "POST", "reload", {})[0] == (200 if write else 403)
    assert ask(shared, one, "POST", "down", {"guests": ["alice"]})[0] == (200 if write else 403)


def test_each_route_is_closed_to_a_stranger(shared: Vmd) -> None:
    for route in ROUTES:
        path = route.path.format(name="alice")
        assert (route.path, ask(shared, NOBODY, route.method, path)[0]) == (route.path, 403)


def test_each_route_that_changes_something_is_closed_to_a_reader(shared: Vmd) -> None:
    reader = who("nobody", "adm")
    for route in ROUTES:
        if route.right == "write":
            path = route.path.format(name="alice")
            assert (route.path, ask(shared, reader, route.method, path)[0]) == (route.path, 403)
    assert {route.name for route in ROUTES if route.method == "POST" and route.right == "read"} == {"wait"}


def test_a_refusal_says_who_and_why(shared: Vmd) -> None:
    _, body = ask(shared, NOBODY, "POST", "down", {"guests": ["alice"]})
    assert json.loads(body)["error"] == f"nobody (uid {NOBODY.uid}) may not write here: POST /v1/down"
    assert f"nobody (uid {NOBODY.uid}) may not write" in shared.log.read_text()
    assert all(event["event"] != "request" for event in shared.ctl("events", "--json").events)


def test_each_change_says_who_asked(shared: Vmd) -> None:
    games = who("games")
    assert ask(shared, games, "POST", "down", {"guests": ["alice"]})[0] == 200
    (event,) = [event for event in shared.ctl("events", "--json").events if event["event"] == "request"]
    assert (event["verb"], event["guests"], event["user"]) == ("down", ["alice"], "games")
    assert (event["uid"], event["gid"]) == (games.uid, games.gid)
    assert f"down alice asked by games (uid {games.uid}, pid {event['pid']})" in shared.log.read_text()


def test_rights_change_without_a_restart(shared: Vmd) -> None:
    assert ask(shared, who("games"), "GET", "version")[0] == 200
    (shared.config / "vmd.yaml").write_text("access: {read: {users: [nobody]}}\n")
    assert shared.ctl("reload").code == 0
    assert ask(shared, who("games"), "GET", "version")[0] == 403
    assert ask(shared, NOBODY, "GET", "version")[0] == 200


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("access: {write: {users: [no-such-user]}}", "there is no user 'no-such-user'"),
        ("access: {write: {groups: [no-such-group]}}", "there is no group 'no-such-group'"),
        ("access: {wrote: {users: [games]}}", "access.wrote: "),
        ("access: [", "vmd.yaml:"),
        ("acces: {write: {users: [games]}}", "acces: "),
    ],
)
def test_rights_at_fault_are_nobodys(home: Vmd, text: str, fault: str) -> None:
    (home.config / "vmd.yaml").write_text(text)
    home.start()
    assert ask(home, who("games"), "GET", "version")[0] == 0
    assert [fault in told for told in home.ctl("list", "--json").json["faults"]] == [True]


def test_without_rights_nobody_else_may_connect(vmd: Vmd) -> None:
    """The group vmd may, where there is one; no test can tell that it has no members here."""
    assert ask(vmd, NOBODY, "GET", "version")[0] == 0
    assert vmd.socket.stat().st_mode & 0o007 == 0
