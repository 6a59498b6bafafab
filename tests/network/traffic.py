"""UDP and TCP echo, a packet a millisecond, and what of it was lost.

python traffic.py serve ADDRESS | python traffic.py ask ADDRESS: serve says "ready"; ask says "flowing", goes on
until its stdin ends, then prints what it saw as JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import threading
import time

PORT = 7007
TCP_INFO_TOTAL_RETRANS = 100
"""Where struct tcp_info has tcpi_total_retrans (linux/tcp.h)."""


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(address: str) -> None:
    udp = socket.socket(family(address), socket.SOCK_DGRAM)
    udp.bind((address, PORT))
    listener = socket.create_server((address, PORT), family=family(address))
    say("ready")
    tcp, _ = listener.accept()
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with selectors.DefaultSelector() as selector:
        selector.register(udp, selectors.EVENT_READ)
        selector.register(tcp, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is udp:
                    data, peer = udp.recvfrom(100)
                    udp.sendto(data, peer)
                elif data := tcp.recv(65536):
                    tcp.sendall(data)
                else:
                    return


class Asker:
    def __init__(self, address: str) -> None:
        self.udp = socket.socket(family(address), socket.SOCK_DGRAM)
        self.udp.connect((address, PORT))
        self.tcp = socket.create_connection((address, PORT), timeout=20)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent: dict[int, float] = {}
        self.back: dict[int, float] = {}
        self.echoed = 0
        self.errors: list[str] = []

    def receive_udp(self) -> None:
        while True:
            try:
                data = self.udp.recv(100)
            except OSError as error:
                self.errors.append(str(error))
                return
            if not data:
                return
            self.back[struct.unpack("I", data)[0]] = time.monotonic()

    def receive_tcp(self) -> None:
        while data := self.tcp.recv(65536):
            self.echoed += len(data)

    def ask(self) -> None:
        over = threading.Event()

        def listen() -> None:
            sys.stdin.read()
            over.set()

        threading.Thread(target=listen, daemon=True).start()
        for receive in (self.receive_udp, self.receive_tcp):
            threading.Thread(target=receive, daemon=True).start()
        number = 0
        while not over.is_set():
            self.sent[number] = time.monotonic()
            self.udp.send(struct.pack("I", number))
            self.tcp.send(b"x" * 64)
            if number == 300:
                say("flowing")
            number += 1
            time.sleep(0.001)  # the stream's own pace
        self.drain(number * 64)

    def drain(self, wanted: int) -> None:
        """What is on its way may still come: TCP brings all, and by then UDP has brought what it will bring."""
        end = time.monotonic() + 20
        while self.echoed < wanted and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.3)

    def seen(self) -> dict[str, object]:
        lost = [number for number in self.sent if number not in self.back]
        information = self.tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        gaps = [(self.sent.get(n + 1, self.sent[n]) - self.sent[n]) for n in lost]
        return {
            "sent": len(self.sent),
            "lost": len(lost),
            "outage_ms": round(sum(gaps) * 1000, 1),
            "retransmitted": struct.unpack_from("I", information, TCP_INFO_TOTAL_RETRANS)[0],
            "tcp_lost": len(self.sent) * 64 - self.echoed,
            "errors": self.errors,
        }


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        asker = Asker(sys.argv[2])
        asker.ask()
        say(json.dumps(asker.seen()))
