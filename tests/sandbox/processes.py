"""Programs that start, signal, read or outlive processes."""

from tests.sandbox.hostile import attacks

PROGRAMS = attacks(
        "processes",
        [
            ("fork", "if os.fork() == 0:\n    os._exit(0)\nreturn True"),
            (
                "daemon",
                "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time\n        time.sleep(600)\n"
                "    os._exit(0)\nreturn True",
            ),
            ("foreign function clone", "pid = call('clone', 17, 0, 0, 0, 0)\nif pid == 0:\n    os._exit(0)\nreturn True"),
            (
                "clone by structure",
                "import ctypes, struct\nargs = ctypes.create_string_buffer(struct.pack('=8Q', 0, 0, 0, 0, 17, 0, 0, 0))\n"
                "pid = call('clone3', args, 64)\nif pid == 0:\n    os._exit(0)\nreturn True",
            ),
            ("start a program", "import subprocess\nreturn subprocess.run([sys.executable, '-c', '']).returncode == 0"),
            ("shell", "return os.system('exit 0') == 0"),
            ("spawn", "os.posix_spawn('/bin/sh', ['sh', '-c', 'sleep 600'], {})\nreturn True"),
            (
                "start behind the audit",
                "import _posixsubprocess as p\nr, w = os.pipe()\n"
                "a = [[b'sh', b'-c', b'sleep 600'], [b'/bin/sh'], True, (w,), None, None, -1, -1, -1, -1, -1, -1, r, w, True,"
                " False, -1, None, None, None, -1, None]\n"
                "return p.fork_exec(*(a + [False])[:23 if sys.version_info < (3, 14) else 22]) > 0",
            ),
            ("worker processes", "import multiprocessing\np = multiprocessing.Process(target=print)\np.start()\nreturn True"),
            ("become another program", "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)'])"),
            (
                "a program from memory",
                "fd = call('memfd_create', b'x', 0)\nos.write(fd, b'#!/bin/sh\\n')\n"
                "return call('execveat', fd, b'', None, None, 0x1000) == 0",
            ),
            ("secret memory", "return call('memfd_secret', 0) >= 0"),
            (
                "fork bomb",
                "n = 0\nwhile True:\n    try:\n        if os.fork() == 0:\n            while True:\n                os.fork()\n"
                "        n += 1\n    except OSError:\n        return n > 100",
            ),
            (
                "thread bomb",
                "import threading, time\nn = 0\ntry:\n    while n < 5000:\n        threading.Thread(target=time.sleep, args=(5,),"
                " daemon=True).start()\n        n += 1\nexcept RuntimeError:\n    pass\nreturn n > 100",
            ),
            ("signal a process of the host", "os.kill({victim}, 9)\nreturn True"),
            ("signal everybody", "os.kill(-1, 9)\nreturn False"),
            ("signal the group", "os.killpg(0, 15)\nreturn False"),
            ("stop the parent", "os.kill(os.getppid(), 19)\nreturn os.getppid() != 1"),
            ("signal through a descriptor", "return call('pidfd_send_signal', call('pidfd_open', {victim}, 0), 9, None, 0) == 0"),
            ("queue a signal", "import ctypes\nreturn ctypes.CDLL(None).sigqueue({victim}, 10, 0) == 0"),
            (
                "a file that signals its owner",
                "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {victim})\nfcntl.fcntl(r, 10, 10)\n"
                "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x')\nreturn True",
            ),
            ("trace a process of the host", "return call('ptrace', 16, {victim}, 0, 0) == 0"),
            ("trace the tester", "return call('ptrace', 16, 1, 0, 0) == 0"),
            ("be traced", "return call('ptrace', 0, 0, 0, 0) == 0"),
            (
                "read memory of the tester",
                "import ctypes, struct\nroom = ctypes.create_string_buffer(16)\n"
                "mine = ctypes.create_string_buffer(struct.pack('=QQ', ctypes.addressof(room), 16))\n"
                "there = ctypes.create_string_buffer(struct.pack('=QQ', id(None), 16))\n"
                "return call('vm_readv', os.getppid(), mine, 1, there, 1, 0) > 0",
            ),
            (
                "write memory of the tester",
                "import ctypes, struct\nroom = ctypes.create_string_buffer(16)\n"
                "mine = ctypes.create_string_buffer(struct.pack('=QQ', ctypes.addressof(room), 16))\n"
                "there = ctypes.create_string_buffer(struct.pack('=QQ', id(None), 16))\n"
                "return call('vm_writev', os.getppid(), mine, 1, there, 1, 0) > 0",
            ),
            ("memory file of the tester", "return bool(open(f'/proc/{os.getppid()}/mem', 'r+b'))"),
            ("own memory file", "return bool(open('/proc/self/mem', 'r+b'))"),
            ("take a descriptor of the tester", "return call('pidfd_getfd', call('pidfd_open', 1, 0), 0, 0) >= 0"),
            (
                "see processes",
                "def exists(pid):\n    try:\n        os.kill(pid, 0)\n    except ProcessLookupError:\n        return False\n    return True\n"
                "return sum(exists(pid) for pid in range(2, 70_000)) > 3",
            ),
            ("a session of its own", "os.setsid()\nreturn True"),
        ],
        short=("fork", "daemon", "fork bomb", "signal a process of the host", "trace the tester", "become another program"),
)  # fmt: skip
