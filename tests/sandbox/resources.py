"""Programs that use up memory, disk, time, descriptors, or the grader's patience."""

from tests.sandbox.hostile import attacks

_FILL = """
written = 0
for n in range(400):
    try:
        with open(f'f{n}', 'wb') as file:
            written += file.write(bytes(1 << 20))
    except OSError:
        break
return written > 32 << 20
"""

PROGRAMS = attacks(
    "resources",
    [
        ("memory in a list", "kept = []\nfor _ in range(300):\n    kept.append(bytearray(8 << 20))\nreturn True"),
        ("memory at once", "return len(bytearray(1 << 34)) > 0"),
        ("mapped memory", "import mmap\nkept = [mmap.mmap(-1, 64 << 20) for _ in range(64)]\nreturn True"),
        (
            "memory in threads",
            "import threading\nkept = []\ndef more():\n    for _ in range(100):\n        kept.append(bytearray(8 << 20))\n"
            "threads = [threading.Thread(target=more) for _ in range(8)]\n[t.start() for t in threads]\n"
            "[t.join() for t in threads]\nreturn len(kept) > 200",
        ),
        ("memory in pipes", "import fcntl\nkept = []\ntry:\n    while True:\n        r, w = os.pipe()\n        fcntl.fcntl(w, 1031, 1 << 20)\n        kept.append(os.write(w, bytes(1 << 20)))\nexcept OSError:\n    pass\nreturn sum(kept) > 64 << 20"),
        ("memory in removed files", "kept = []\nfor n in range(400):\n    f = open('f', 'wb')\n    f.write(bytes(1 << 20))\n    os.remove('f')\n    kept.append(f)\nreturn True"),
        ("fill the disk", _FILL),
        ("one huge file", "with open('f', 'wb') as f:\n    for _ in range(64):\n        f.write(bytes(1 << 20))\nreturn True"),
        ("a sparse file", "with open('f', 'wb') as f:\n    f.truncate(1 << 40)\nreturn True"),
        ("reserved space", "os.posix_fallocate(os.open('f', os.O_CREAT | os.O_RDWR), 0, 1 << 30)\nreturn True"),
        ("many files", "for n in range(100_000):\n    open(f'f{n}', 'w').close()\nreturn True"),
        ("nested folders", "for _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\nreturn False"),
        ("folders without rights", "for n in range(50):\n    os.mkdir('d')\n    os.chdir('d')\n    os.chmod('.', 0o300)\nreturn False"),
        ("odd names", "for name in ('\\n', '-rf', '\\udcff', 'x' * 255, '*', '\\u202e', ' '):\n    open(name, 'w').close()\nreturn False"),
        ("links in a circle", "os.symlink('a', 'b')\nos.symlink('b', 'a')\nos.symlink('.', 'self')\nreturn False"),
        ("a bomb in a zip file", "import zlib\nreturn len(zlib.decompress(zlib.compress(zlib.compress(bytes(1 << 28))), bufsize=1)) > 1 << 30 or len(zlib.decompressobj().decompress(zlib.compress(bytes(1 << 29)) * 4)) > 1 << 30"),
        ("an endless loop", "while True:\n    pass"),
        ("an endless loop in C", "return sum(iter(int, 1)) == 1"),
        ("a large power", "return (9 ** 9 ** 9) > 0"),
        ("a backtracking pattern", "import re\nreturn bool(re.match('(a+)+$', 'a' * 60 + 'b'))"),
        ("sleep", "import time\ntime.sleep(600)\nreturn True"),
        ("wait for a lock", "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()"),
        ("ignore signals and loop", "import signal\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\nwhile True:\n    pass"),
        ("time in many threads", "import threading\ndef burn():\n    while True:\n        pass\nfor _ in range(8):\n    threading.Thread(target=burn).start()\nburn()"),
        ("descriptors", "kept = []\nwhile len(kept) < 1000:\n    kept.append(os.open('/dev/null', os.O_RDONLY))\nreturn True"),
        ("huge output", "for _ in range(2000):\n    os.write(1, b'x' * 100_000)\n    print('x' * 100_000)\nreturn False"),
        ("huge errors", "sys.stderr.write('x' * (100 << 20))\nraise ValueError('x' * (100 << 20))"),
        ("overflow the stack", "sys.setrecursionlimit(10**9)\ndef deep():\n    return deep()\nreturn deep()"),
        ("crash the interpreter", "import ctypes\nctypes.string_at(0)"),
        ("dump core", "os.abort()"),
        ("locked memory", "import ctypes\nlibc = ctypes.CDLL(None)\nroom = ctypes.create_string_buffer(64 << 20)\nreturn libc.mlock(room, 64 << 20) == 0"),
        ("timers", "import ctypes\nlibc = ctypes.CDLL(None)\nn = 0\nroom = ctypes.c_void_p()\nwhile n < 100_000 and libc.timer_create(0, None, ctypes.byref(room)) == 0:\n    n += 1\nreturn n > 10_000"),
    ],
    short=("memory in a list", "fill the disk", "nested folders", "descriptors", "huge output"),
)  # fmt: skip
