"""Whatever a serial console says, in pieces of any size."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmd.installer.contract import LINE_LIMIT, Failed, HostKey, Message, Progress, Succeeded, Transcript

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJjJjkBEkLqkD7RevwWds4KrBod8sS43chIkZW7bf1+k"
ED25519 = HostKey("ssh-ed25519", KEY)


def said(text: str | bytes, success: str = "INSTALL_SUCCESSFUL") -> tuple[Message, ...]:
    return Transcript(success).feed(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("INSTALL_PROGRESS 3/10 copying", Progress(3, 10, "copying")),
        ("INSTALL_PROGRESS 0/1", Progress(0, 1, "")),
        ("INSTALL_PROGRESS 10/10 all of it, and more", Progress(10, 10, "all of it, and more")),
        ("  INSTALL_PROGRESS  3/10   copying  ", Progress(3, 10, "copying")),
        ("[   12.3] install[412]: INSTALL_PROGRESS 1/2 half", Progress(1, 2, "half")),
        ("INSTALL_SUCCESSFUL", Succeeded()),
        ("[   12.345678] nixos-install[512]: INSTALL_SUCCESSFUL", Succeeded()),
        ("### INSTALL_SUCCESSFUL ###", Succeeded()),
        ("INSTALL_FAILED: no disk", Failed("no disk")),
        ("[   12.3] install[1]: INSTALL_FAILED: /dev/vda: is not blank", Failed("/dev/vda: is not blank")),
        (
            "INSTALL_FAILED: no echo from the kernel command line: x",
            Failed("no echo from the kernel command line: x"),
        ),
        ("INSTALL_FAILED:", Failed("")),
        ("INSTALL_FAILED", Failed("")),
        (f"SSH_HOST_KEY ssh-ed25519 {KEY}", ED25519),
        (f"[    9.1] init: SSH_HOST_KEY ssh-ed25519 {KEY} root@alice", ED25519),
        ("SSH_HOST_KEY ecdsa-sha2-nistp256 AAAAE2Vj=", HostKey("ecdsa-sha2-nistp256", "AAAAE2Vj=")),
        (
            "SSH_HOST_KEY sk-ssh-ed25519@openssh.com AAAAGnNr==",
            HostKey("sk-ssh-ed25519@openssh.com", "AAAAGnNr=="),
        ),
    ],
)
def test_a_line_means(line: str, message: Message) -> None:
    assert said(f"{line}\n") == (message,)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Debian GNU/Linux 12 alice ttyS0",
        "[    0.000000] Command line: BOOT_IMAGE=/vmlinuz INSTALL_SUCCESSFUL quiet",
        "[    0.041] Kernel command line: INSTALL_FAILED",
        '[    0.5] Unknown kernel command line parameters "INSTALL_SUCCESSFUL", will be passed to user space.',
        "linux BOOT_IMAGE=/vmlinuz INSTALL_SUCCESSFUL",
        "+ echo INSTALL_SUCCESSFUL",
        "++ INSTALL_SUCCESSFUL",
        "echo INSTALL_SUCCESSFUL",
        "bash# mount /dev/vda && echo INSTALL_SUCCESSFUL",
        "printf 'INSTALL_FAILED: x'",
        "success=INSTALL_SUCCESSFUL",
        '"INSTALL_SUCCESSFUL"',
        "INSTALL_SUCCESSFULLY",
        "NOT_INSTALL_SUCCESSFUL",
        "install_successful",
        "INSTALL_FAILED_BEFORE: once",
        "INSTALL_PROGRESS",
        "INSTALL_PROGRESS 3 of 10",
        "INSTALL_PROGRESS 11/10 too far",
        "INSTALL_PROGRESS 0/0 nothing",
        "INSTALL_PROGRESS -1/10",
        "INSTALL_PROGRESS 9999999999/9999999999",
        "SSH_HOST_KEY",
        "SSH_HOST_KEY ssh-ed25519",
        "SSH_HOST_KEY ssh-ed25519 BBBB",
        f"SSH_HOST_KEY ssh-ed25519 {KEY}…",
        f"SSH_HOST_KEY foo {KEY}",
        f"ssh-ed25519 {KEY} root@alice",
    ],
)
def test_a_line_means_nothing(line: str) -> None:
    assert said(f"{line}\n") == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
def test_lines_end_in_every_way(end: str) -> None:
    assert said(f"INSTALL_PROGRESS 1/2 a{end}INSTALL_SUCCESSFUL{end}") == (Progress(1, 2, "a"), Succeeded())


@pytest.mark.parametrize(
    "line",
    [
        b"\x1b[32mINSTALL_SUCCESSFUL\x1b[0m\n",
        b"\x1b[0;1;31m[ OK ]\x1b[0m INSTALL_SUCCESSFUL\n",
        b"\x1b]0;a title\x07INSTALL_SUCCESSFUL\n",
        b"\x1b]3008;start=1;user=root\x1b\\INSTALL_SUCCESSFUL\n",
        b"\x1b[!p\x1b]104\x07\x1b[?7h\x1b7INSTALL_SUCCESSFUL\n",
        b"\x1bcINSTALL_SUCCESSFUL\n",
        b"\x00\x07INSTALL_SUCCESSFUL\x08\n",
        b"\xff\xfe \xc3 INSTALL_SUCCESSFUL \x80\n",
    ],
)
def test_noise_is_stripped(line: bytes) -> None:
    assert said(line) == (Succeeded(),)


def test_bytes_that_are_not_utf8_stay_in_the_text() -> None:
    assert said(b"INSTALL_PROGRESS 1/2 caf\xe9\n") == (Progress(1, 2, "caf�"),)


def test_another_phrase_of_success() -> None:
    assert said("Installation complete. Rebooting.\n", "Installation complete.") == (Succeeded(),)
    assert said("INSTALL_SUCCESSFUL\n", "Installation complete.") == ()
    assert said("done (100%)\n", "(100%)") == (Succeeded(),)


CLOUD_INIT = f"""\
[   20.1] cloud-init[500]: ssh-ed25519 {KEY} not in the block
-----BEGIN SSH HOST KEY KEYS-----
ecdsa-sha2-nistp256 AAAAE2VjZHNh= root@alice
[   20.2] cloud-init[500]: ssh-ed25519 {KEY} root@alice
[   20.3] random: crng init done
ssh-rsa AAAAB3NzaC1yc2E= root@alice
-----END SSH HOST KEY KEYS-----
ssh-dss AAAAB3NzaC1kc3M= after the block
"""


def test_host_keys_from_cloud_init() -> None:
    ecdsa, rsa = HostKey("ecdsa-sha2-nistp256", "AAAAE2VjZHNh="), HostKey("ssh-rsa", "AAAAB3NzaC1yc2E=")
    assert said(CLOUD_INIT) == (ecdsa, ED25519, rsa)


def test_markers_of_the_block_behind_a_prefix() -> None:
    text = CLOUD_INIT.replace("-----BEGIN", "ci-info: -----BEGIN").replace("-----END", "<14>Nov 23 ec2: -----END")
    assert len(said(text)) == 3


def test_a_block_without_an_end_hides_nothing() -> None:
    assert said("-----BEGIN SSH HOST KEY KEYS-----\nINSTALL_SUCCESSFUL\n") == (Succeeded(),)


def test_an_overlong_line_is_cut() -> None:
    transcript = Transcript()
    assert transcript.feed(b"INSTALL_FAILED: " + b"x" * 1_000_000 + b" INSTALL_SUCCESSFUL\n") == (
        Failed("x" * (LINE_LIMIT - 16) + "…"),
    )
    assert len(transcript.last_line) == LINE_LIMIT + 1
    assert transcript.feed(b"INSTALL_SUCCESSFUL\n") == (Succeeded(),)


def test_a_key_that_was_cut_is_none() -> None:
    start = "SSH_HOST_KEY ssh-rsa AAAA"
    assert said(start + "B" * LINE_LIMIT + "\n") == ()


def test_memory_is_bounded_without_a_line_end() -> None:
    transcript = Transcript()
    for _ in range(100):
        transcript.feed(b"x" * 100_000)
    assert len(transcript.last_line) <= LINE_LIMIT


def test_last_line() -> None:
    transcript = Transcript()
    assert transcript.last_line == ""
    transcript.feed(b"one\r\n\r\n  \n")
    assert transcript.last_line == "one"
    transcript.feed(b"\x1b[31mtwo")
    assert transcript.last_line == "two"
    transcript.feed(b" and more\n")
    assert transcript.last_line == "two and more"


def test_a_line_that_never_ended_counts_at_the_end() -> None:
    transcript = Transcript()
    assert transcript.feed(b"INSTALL_SUCCESSFUL") == ()
    assert transcript.finish() == (Succeeded(),)
    assert transcript.finish() == ()
    assert transcript.last_line == "INSTALL_SUCCESSFUL"


WHOLE = f"\x1b[1mINSTALL_PROGRESS 1/2 é\x1b[0m\r\n{CLOUD_INIT}INSTALL_FAILED: x\n".encode()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_how_it_is_cut_into_pieces_does_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    transcript = Transcript()
    pieces = [transcript.feed(WHOLE[a:b]) for a, b in pairwise(edges)]
    assert tuple(message for piece in pieces for message in piece) == said(WHOLE)


@given(st.binary())
def test_no_bytes_are_too_strange(data: bytes) -> None:
    transcript = Transcript()
    transcript.feed(data)
    transcript.finish()
    assert "\n" not in transcript.last_line
