"""Programs that reach for the network, or for sockets of the host."""

from tests.sandbox.hostile import attacks

PROGRAMS = attacks(
    "network",
    [
        ("connect", "import socket\nsocket.create_connection(('127.0.0.1', {port}), 3).send(b'x')\nreturn True"),
        (
            "send a datagram",
            "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\n"
            "return True",
        ),
        (
            "an abstract socket of the host",
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0{abstract}')\ns.send(b'x')\nreturn True",
        ),
        (
            "a socket file of the host",
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{folder}/socket')\ns.send(b'x')\nreturn True",
        ),
        ("netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))\nreturn True"),
        ("raw packets", "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)\nreturn True"),
        ("virtual sockets", "import socket\nsocket.socket(40, socket.SOCK_STREAM)\nreturn True"),
        (
            "foreign function socket",
            "import ctypes, socket, struct\nfd = call('socket', 2, 1, 0)\n"
            "address = struct.pack('=HH4s8x', 2, socket.htons({port}), bytes([127, 0, 0, 1]))\n"
            "call('connect', fd, ctypes.create_string_buffer(address), 16)\nos.write(fd, b'x')\nreturn True",
        ),
        (
            "listen",
            "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 0))\ns.listen()\nreturn True",
        ),
        ("asynchronous connection", "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', {port}))\nreturn True"),
        ("ask a name server", "import socket\nreturn bool(socket.getaddrinfo('localhost.localdomain', 80))"),
        ("fetch a page", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/', timeout=3)\nreturn True"),
        ("a ring that opens sockets", "import ctypes\nreturn call('io_uring_setup', 8, ctypes.create_string_buffer(120)) >= 0"),
        (
            "hand file descriptors on",
            "import array, socket\na, b = socket.socketpair()\n"
            "a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])\nreturn True",
        ),
    ],
    short=("connect", "an abstract socket of the host", "a ring that opens sockets"),
)  # fmt: skip
