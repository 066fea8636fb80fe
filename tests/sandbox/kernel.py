"""Programs that reach for the kernel's interfaces."""

from tests.sandbox.hostile import attacks

_MACHINE_CODE = """
import ctypes, mmap, platform
if platform.machine() != 'x86_64':
    return False
code = bytes.fromhex({code!r})
room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
room.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(room))
return ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0
"""


def _machine_code(code: str) -> str:
    return _MACHINE_CODE.format(code=code)


PROGRAMS = attacks(
    "kernel",
    [
        ("a user namespace of its own", "return call('unshare', 0x10000000) == 0"),
        ("a mount namespace of its own", "return call('unshare', 0x20000) == 0"),
        ("another's namespace", "return call('setns', call('pidfd_open', 1, 0), 0x20000) == 0"),
        ("bpf", "import ctypes\nreturn call('bpf', 0, ctypes.create_string_buffer(b'\\1\\0\\0\\0' + bytes(60)), 64) >= 0"),
        (
            "performance events",
            "import ctypes, struct\nevent = ctypes.create_string_buffer(struct.pack('=IIQ', 1, 112, 0) + bytes(96))\n"
            "return call('perf_event_open', event, 0, -1, -1, 0) >= 0",
        ),
        ("page faults in user space", "return call('userfaultfd', 1) >= 0"),
        ("a key", "return call('add_key', b'user', b'x', b'y', 1, -3) >= 0"),
        ("ask for a key", "return call('request_key', b'user', b'x', None, -3) >= 0"),
        ("a key ring", "return call('keyctl', 0, -3, 1) >= 0"),
        ("personality", "return call('personality', 0x0400000) >= 0"),
        ("another kernel", "return call('kexec_load', 0, 0, None, 0) == 0"),
        ("a kernel module", "return call('init_module', b'', 0, b'') == 0"),
        ("a kernel module from a file", "return call('finit_module', os.open(os.__file__, 0), b'', 0) == 0"),
        ("a filter of its own", "import ctypes\nreturn call('seccomp', 1, 8, ctypes.create_string_buffer(16)) >= 0"),
        ("the host's name", "import socket\nsocket.sethostname('taken')\nreturn True"),
        ("the clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)\nreturn True"),
        ("restart", "return call('reboot', 0xfee1dead - (1 << 32), 672274793, 0, None) == 0"),
        ("swap", "return call('swapon', b'x', 0) == 0"),
        ("accounting", "return call('acct', None) == 0"),
        ("become root", "os.setuid(0)\nreturn True"),
        ("become somebody", "os.setresuid(1000, 1000, 1000)\nreturn True"),
        ("groups", "os.setgroups([0])\nreturn True"),
        (
            "take capabilities",
            "import ctypes, struct\nhead = ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0))\n"
            "all_of_them = ctypes.create_string_buffer(b'\\xff' * 24)\nreturn call('capset', head, all_of_them) == 0",
        ),
        (
            "raise the limits",
            "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)\nreturn True",
        ),
        ("shared memory", "return call('shmget', 4711, 4096, 0o1666) >= 0"),
        ("message queues", "return call('msgget', 4711, 0o1666) >= 0"),
        ("semaphores", "return call('semget', 4711, 1, 0o1666) >= 0"),
        ("POSIX message queues", "return call('mq_open', b'left', 0o102, 0o666, None) >= 0"),
        ("the kernel's log", "import ctypes\nreturn call('syslog', 3, ctypes.create_string_buffer(64), 64) > 0"),
        ("memory files", "return call('memfd_create', b'x', 0) >= 0"),
        ("quotas", "return call('quotactl', 0x800003 << 8, None, 0, None) == 0"),
        ("watch all files", "return call('fanotify_init', 0, 0) >= 0"),
        ("input and output ports", "return call('iopl', 3) == 0"),
        ("another's pages", "return call('migrate_pages', 1, 8, None, None) >= 0"),
        ("move pipes to memory", "r, w = os.pipe()\nos.write(w, b'x')\nr2, w2 = os.pipe()\nreturn call('splice', r, None, w2, None, 1, 0) > 0"),
        ("system calls of 32 bits", _machine_code("b814000000cd80c3")),  # mov eax, 20 (getpid); int 0x80; ret
        ("system calls of x32", _machine_code("b82900004048c7c702000000be010000000f05c3")),  # socket
        ("clear the mark of no new privileges", "return call('prctl', 38, 0, 0, 0, 0) == 0"),
        ("be readable to others", "return call('prctl', 0x59616d61, -1, 0, 0, 0) == 0"),
        ("fall to the next parent", "return call('prctl', 36, 1, 0, 0, 0) == 0"),
        ("processors of its choice", "os.sched_setaffinity(0, os.sched_getaffinity(0))\nreturn True"),
    ],
    short=("a user namespace of its own", "bpf", "system calls of 32 bits", "become root", "shared memory"),
)  # fmt: skip
