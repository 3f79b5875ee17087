#include "fs/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#define BIT(capability) (1u << (capability))

/* What is needed of `permitted`. Containers give root CAP_DAC_OVERRIDE only: with that one, too, a
 * store can be read that belongs to somebody else. */
static uint32_t needed(uint32_t permitted)
{
    bool can_read = permitted & BIT(CAP_DAC_READ_SEARCH);
    return BIT(CAP_SYS_ADMIN) | BIT(can_read ? CAP_DAC_READ_SEARCH : CAP_DAC_OVERRIDE);
}

static int drop_capabilities(Error *e)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0)
        return error_errno(e, errno, "cannot read the process's capabilities");
    uint32_t kept = needed(data[0].permitted);
    data[0].effective &= kept;
    data[0].permitted &= kept;
    data[0].inheritable = 0;
    data[1] = (struct __user_cap_data_struct){0};
    if (syscall(SYS_capset, &header, data) < 0)
        return error_errno(e, errno, "cannot drop capabilities");
    return 0;
}

#ifdef HAVE_SECCOMP

/* By name, as architectures differ in what they have. */
static const char *const allowed[] = {
    /* memory and threads */
    "brk",
    "futex",
    "futex_waitv",
    "get_robust_list",
    "madvise",
    "membarrier",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "rseq",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "setsid",
    "set_tid_address",
    "arch_prctl",
    "exit",
    "exit_group",
    "restart_syscall",
    "gettid",
    "getpid",
    "getppid",
    "getrandom",
    "sysinfo",
    "uname",
    "prlimit64",
    "getrlimit",
    "ugetrlimit",
    /* signals and time */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "sigaltstack",
    "sigreturn",
    "tgkill",
    "tkill", /* musl's pthread_kill and abort */
    "wait4",
    "waitid",
    "clock_getres",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "gettimeofday",
    "nanosleep",
    "time",
    /* reading files; what opens them stands below */
    "access",
    "chdir",
    "close",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fcntl",
    "fcntl64",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "getcwd",
    "getdents",
    "getdents64",
    "_llseek",
    "lseek",
    "lstat",
    "lstat64",
    "newfstatat",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pread64",
    "preadv",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    /* answering: the kernel, the log, systemd, the unmounter */
    "connect",
    "getsockopt",
    "pipe2",
    "pwrite64",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "splice",
    "vmsplice",
    "write",
    "writev",
    /* ending, and who we are */
    "umount2",
    "geteuid",
    "geteuid32",
    "getuid",
    "getuid32",
    "getegid",
    "getegid32",
    "getgid",
    "getgid32",
};

#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

static int add_rules(scmp_filter_ctx filter)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(*allowed); i++) {
        int number = seccomp_syscall_resolve_name(allowed[i]);
        if (number != __NR_SCMP_ERROR)
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
    }
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY));
    /* Threads, not processes. clone3 hides its flags: without it the C library takes clone. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    return r;
}

static int filter_calls(Error *e)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return error_oom(e);
    int r = add_rules(filter);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    if (r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP)
        return 0; /* a kernel without it */
    return r < 0 ? error_errno(e, -r, "cannot filter system calls") : 0;
}

#else

static int filter_calls(Error *e)
{
    return 0;
}

#endif

int sandbox_enter(Error *e)
{
    int r = drop_capabilities(e);
    return r < 0 ? r : filter_calls(e);
}
