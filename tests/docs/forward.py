"""Pass connections on: ``python forward.py LISTEN TARGET``, each either ``host:port`` or the path of a Unix socket.

It needs nothing but Python, so that it runs in a network of its own, where a Unix socket is the only way out.
"""

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def forward(listen: str, target: str) -> None:
    """Serve until killed."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if target.startswith("/"):
            there = await asyncio.open_unix_connection(target)
        else:
            host, port = target.rsplit(":", 1)
            there = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    if listen.startswith("/"):
        server = await asyncio.start_unix_server(handle, listen)
    else:
        host, port = listen.rsplit(":", 1)
        server = await asyncio.start_server(handle, host, int(port))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(forward(sys.argv[1], sys.argv[2]))
