"""Programs that reach for the host's files."""

from tests.sandbox.hostile import attacks

PROGRAMS = attacks(
    "files",
    [
        ("read the accounts", "return bool(open('/etc/passwd').read())"),
        ("read a file of the host", "return bool(open('{folder}/canary').read())"),
        ("write a file of the host", "open('{folder}/canary', 'w').write('x')\nreturn True"),
        ("remove a file of the host", "os.remove('{folder}/canary')\nreturn True"),
        ("make a file on the host", "open('{folder}/left', 'w').write('x')\nreturn True"),
        ("rename a file of the host", "os.rename('{folder}/canary', 'mine')\nreturn True"),
        ("climb out of the folder", "return bool(open('../' * 64 + 'etc/passwd').read())"),
        ("symbolic link out", "os.symlink('{folder}/canary', 'link')\nreturn bool(open('link').read())"),
        ("hard link to the host", "os.link('{folder}/canary', 'link')\nreturn bool(open('link').read())"),
        (
            "hard link to the interpreter, then write",
            "os.link(os.__file__, 'link')\nopen('link', 'a').write('x')\nreturn True",
        ),
        ("list the root", "return bool({'etc', 'home', 'var', 'boot', 'opt'} & set(os.listdir('/')))"),
        ("walk to the root's folders", "return any(os.path.exists(p) for p in ('/home', '/var', '/boot', '/opt'))"),
        (
            "see installed packages",
            "import glob\nreturn bool(glob.glob(os.path.dirname(os.__file__) + '/*-packages/*'))",
        ),
        ("write to the standard library", "open(os.__file__, 'a').write('#')\nreturn True"),
        ("plant a .pth file", "open(os.path.dirname(os.__file__) + '/x.pth', 'w').write('import os')\nreturn True"),
        (
            "plant byte code",
            "import importlib.util\npath = importlib.util.cache_from_source(os.__file__)\n"
            "os.makedirs(os.path.dirname(path), exist_ok=True)\nopen(path, 'wb').write(b'x')\nreturn True",
        ),
        (
            "map the interpreter writable",
            "import mmap\nfd = os.open(os.__file__, os.O_RDWR)\nmmap.mmap(fd, 0)[0] = 35\nreturn True",
        ),
        ("touch the interpreter", "os.utime(os.__file__, (0, 0))\nreturn True"),
        ("open the interpreter's rights", "os.chmod(os.__file__, 0o777)\nreturn True"),
        ("a secret of the environment", "return 'canary-of-the-environment' in str(os.environ)"),
        ("environment through /proc", "return bool(open('/proc/self/environ').read())"),
        ("root of another process", "return bool(os.listdir('/proc/1/root/etc'))"),
        ("own file descriptors through /proc", "return bool(os.listdir('/proc/self/fd'))"),
        ("read /sys", "return bool(os.listdir('/sys'))"),
        (
            "open a disk or the kernel's memory",
            "for path in ('/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/vda', '/dev/nvme0n1', '/dev/fuse', '/dev/kvm'):\n"
            "    try:\n        os.open(path, os.O_RDONLY)\n        return True\n    except OSError:\n        pass\n"
            "return False",
        ),
        ("make a device", "os.mknod('disk', 0o60666, os.makedev(254, 0))\nreturn True"),
        (
            "an inherited folder",
            "found = []\nfor fd in range(3, 256):\n    try:\n        os.fchdir(fd)\n        found.append(os.listdir('.'))\n"
            "    except OSError:\n        pass\nreturn bool(found)",
        ),
        (
            "climb out of a chroot",
            "os.mkdir('d')\nfd = os.open('.', os.O_RDONLY)\nos.chroot('d')\nos.fchdir(fd)\nfor _ in range(64):\n"
            "    os.chdir('..')\nos.chroot('.')\nreturn 'etc' in os.listdir('/')",
        ),
        (
            "a file by its handle",
            "import ctypes, struct\nhandle = ctypes.create_string_buffer(struct.pack('=Iiq', 8, 1, 2), 32)\n"
            "return call('open_by_handle_at', os.open('.', 0), handle, 0) >= 0",
        ),
        ("mount the root here", "os.mkdir('m')\nreturn call('mount', b'/', b'm', None, 4096, None) == 0"),
        ("mount /proc", "os.mkdir('m')\nreturn call('mount', b'p', b'm', b'proc', 0, None) == 0"),
        ("unmount what covers", "return call('umount2', b'/', 2) == 0"),
        ("unmount what hides packages", "return call('umount2', (os.path.dirname(os.__file__) + '/site-packages').encode(), 2) == 0"),
        ("make the interpreter writable again", "import ctypes, struct\nwish = ctypes.create_string_buffer(struct.pack('=QQQQ', 0, 1, 0, 0))\nreturn call('mount_setattr', -100, os.path.dirname(os.__file__).encode(), 0, wish, 32) == 0"),
        ("new mounts by the new calls", "return call('fsopen', b'tmpfs', 0) >= 0"),
        ("a tree of the host's root", "return call('open_tree', -100, b'/', 1) >= 0"),
        ("turn the root", "return call('pivot_root', b'.', b'.') == 0"),
        ("shared memory files", "open('/dev/shm/left', 'w').write('x')\nreturn True"),
        ("the host's temporary files", "return bool(os.listdir('/tmp'))"),
        ("extended attributes", "os.setxattr(os.__file__, 'user.x', b'x')\nreturn True"),
        ("watch files", "return call('inotify_init1', 0) >= 0"),
    ],
    short=("read the accounts", "write a file of the host", "mount the root here", "see installed packages"),
)  # fmt: skip
