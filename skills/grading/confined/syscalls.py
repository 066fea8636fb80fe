"""Numbers of the system calls that the filter allows, wholly or by argument; from the kernel's headers."""

# fmt: off
X86_64 = dict(  # noqa: C408
    read=0, write=1, readv=19, writev=20, pread64=17, pwrite64=18, preadv=295, pwritev=296, preadv2=327,
    pwritev2=328, close=3, close_range=436, lseek=8, sendfile=40, open=2, openat=257, openat2=437,
    creat=85, access=21, faccessat=269, faccessat2=439, stat=4, lstat=6, fstat=5, newfstatat=262,
    statx=332, statfs=137, fstatfs=138, getdents=78, getdents64=217, getcwd=79, chdir=80, fchdir=81,
    readlink=89, readlinkat=267, mkdir=83, mkdirat=258, rmdir=84, unlink=87, unlinkat=263, rename=82,
    renameat=264, renameat2=316, link=86, linkat=265, symlink=88, symlinkat=266, chmod=90, fchmod=91,
    fchmodat=268, umask=95, truncate=76, ftruncate=77, fallocate=285, fadvise64=221, utime=132,
    utimes=235, utimensat=280, futimesat=261, fsync=74, fdatasync=75, sync_file_range=277, flock=73,
    dup=32, dup2=33, dup3=292, pipe=22, pipe2=293, copy_file_range=326, mmap=9, munmap=11, mprotect=10,
    mremap=25, madvise=28, msync=26, brk=12, membarrier=324, poll=7, ppoll=271, select=23,
    pselect6=270, epoll_create=213, epoll_create1=291, epoll_ctl=233, epoll_wait=232, epoll_pwait=281,
    epoll_pwait2=441, eventfd=284, eventfd2=290, timerfd_create=283, timerfd_settime=286,
    timerfd_gettime=287, sendto=44, recvfrom=45, shutdown=48, getsockopt=55,
    getsockname=51, getpeername=52, futex=202, futex_waitv=449, set_robust_list=273, set_tid_address=218,
    rseq=334, gettid=186, sched_yield=24, sched_getaffinity=204, sched_getparam=143,
    sched_getscheduler=145, sched_get_priority_max=146, sched_get_priority_min=147, getpriority=140,
    rt_sigaction=13, rt_sigprocmask=14, rt_sigreturn=15, rt_sigpending=127, rt_sigsuspend=130,
    rt_sigtimedwait=128, sigaltstack=131, restart_syscall=219, alarm=37, pause=34, getitimer=36,
    setitimer=38, timer_create=222, timer_settime=223, timer_gettime=224, timer_delete=226,
    timer_getoverrun=225, nanosleep=35, clock_nanosleep=230, clock_gettime=228, clock_getres=229,
    gettimeofday=96, time=201, times=100, getrusage=98, getrlimit=97, getpid=39, getppid=110, getuid=102,
    geteuid=107, getgid=104, getegid=108, getresuid=118, getresgid=120, getgroups=115, getpgrp=111,
    getpgid=121, getsid=124, uname=63, sysinfo=99, getrandom=318, getcpu=309, wait4=61, waitid=247,
    exit=60, exit_group=231, clone=56, socketpair=53, prctl=157, ioctl=16, fcntl=72, prlimit64=302,
    clone3=435,
)
AARCH64 = dict(  # noqa: C408
    read=63, write=64, readv=65, writev=66, pread64=67, pwrite64=68, preadv=69, pwritev=70, preadv2=286,
    pwritev2=287, close=57, close_range=436, lseek=62, sendfile=71, openat=56, openat2=437, faccessat=48,
    faccessat2=439, fstat=80, newfstatat=79, statx=291, statfs=43, fstatfs=44, getdents64=61, getcwd=17,
    chdir=49, fchdir=50, readlinkat=78, mkdirat=34, unlinkat=35, renameat=38, renameat2=276, linkat=37,
    symlinkat=36, fchmod=52, fchmodat=53, umask=166, truncate=45, ftruncate=46, fallocate=47,
    fadvise64=223, utimensat=88, fsync=82, fdatasync=83, sync_file_range=84, flock=32, dup=23, dup3=24,
    pipe2=59, copy_file_range=285, mmap=222, munmap=215, mprotect=226, mremap=216, madvise=233, msync=227,
    brk=214, membarrier=283, ppoll=73, pselect6=72, epoll_create1=20, epoll_ctl=21,
    epoll_pwait=22, epoll_pwait2=441, eventfd2=19, timerfd_create=85, timerfd_settime=86,
    timerfd_gettime=87, sendto=206, recvfrom=207, shutdown=210, getsockopt=209,
    getsockname=204, getpeername=205, futex=98, futex_waitv=449, set_robust_list=99, set_tid_address=96,
    rseq=293, gettid=178, sched_yield=124, sched_getaffinity=123, sched_getparam=121,
    sched_getscheduler=120, sched_get_priority_max=125, sched_get_priority_min=126, getpriority=141,
    rt_sigaction=134, rt_sigprocmask=135, rt_sigreturn=139, rt_sigpending=136, rt_sigsuspend=133,
    rt_sigtimedwait=137, sigaltstack=132, restart_syscall=128, getitimer=102, setitimer=103,
    timer_create=107, timer_settime=110, timer_gettime=108, timer_delete=111, timer_getoverrun=109,
    nanosleep=101, clock_nanosleep=115, clock_gettime=113, clock_getres=114, gettimeofday=169, times=153,
    getrusage=165, getrlimit=163, getpid=172, getppid=173, getuid=174, geteuid=175, getgid=176,
    getegid=177, getresuid=148, getresgid=150, getgroups=158, getpgid=155, getsid=156, uname=160,
    sysinfo=179, getrandom=278, getcpu=168, wait4=260, waitid=95, exit=93, exit_group=94, clone=220,
    socketpair=199, prctl=167, ioctl=29, fcntl=25, prlimit64=261, clone3=435,
)
# fmt: on

ARCHITECTURES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}
"""Machine -> (how the kernel names it to a filter, numbers)."""
