from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from vmd.errors import QemuFailed
from vmd.host.monitor import Monitor

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
LINE = json.dumps(GREETING).encode() + b"\r\n"


@pytest.mark.parametrize(("faulty", "works"), [(1, True), (2, False)])
async def test_who_is_greeted_twice_calls_again_once(tmp_path: Path, faulty: int, works: bool) -> None:
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.write(2 * LINE if calls <= faulty else LINE)
        await reader.read(4096)
        if calls > faulty:
            writer.write(b'{"return": {}}\r\n')
            await reader.read(4096)
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "qmp"):
        if works:
            await (await Monitor.connect(tmp_path / "qmp")).close()
        else:
            with pytest.raises(QemuFailed, match="Negotiation failed"):
                await Monitor.connect(tmp_path / "qmp")
    assert calls == 2
