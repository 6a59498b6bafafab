"""A whole copy of an image, with all that its backing files hold."""

from __future__ import annotations

from pathlib import Path

from vmd.host import disk


async def copy(source: Path, source_format: str, target: Path, target_format: str = "qcow2") -> None:
    """Copy an image that nobody uses into a new one of its own, which needs no backing file; then flush it.

    :raise Refused: something is at ``target`` already.
    :raise CommandFailed: qemu-img failed: somebody uses the source, or the disk is full; nothing is left of the copy.
    """
    size = (await disk.info(source, source_format)).virtual_size
    await disk.create(target, size, format=target_format)
    # -n: into the file just made, of which only we know; it holds nothing but zeros
    how = ("-q", "-n", "--target-is-zero", "-W", "-f", source_format, "-O", target_format)
    try:
        await disk.qemu_img(target, "convert", *how, "--", disk.plain(source), disk.plain(target), limit=disk.SLOW)
        await disk.flush(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
