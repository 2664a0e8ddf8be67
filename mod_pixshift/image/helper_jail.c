/* Limits of a helper child; see helper_jail.h. */
#include "helper_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<linux/landlock.h>)
#include <linux/landlock.h>
#define HAVE_LANDLOCK 1
#endif

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* ---- resource limits ---- */

static bool limit(int resource, rlim_t value)
{
    struct rlimit now;
    if (getrlimit(resource, &now) != 0)
        return false;
    if (now.rlim_max < value)
        value = now.rlim_max;       /* the system is stricter: fine */
    struct rlimit want = { value, value };
    return setrlimit(resource, &want) == 0;
}

static bool set_limits(const px_jail_limits *limits)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bool ok = true;                 /* the sanitizers map terabytes of shadow memory */
#else
    bool ok = limit(RLIMIT_AS, limits->memory);
#endif
    /* One second between SIGXCPU, which tells the parent what happened, and SIGKILL. */
    struct rlimit cpu = { limits->cpu_s, limits->cpu_s + 1 };
    return ok && setrlimit(RLIMIT_CPU, &cpu) == 0 && limit(RLIMIT_FSIZE, limits->file_size)
        && limit(RLIMIT_NOFILE, 24) && limit(RLIMIT_CORE, 0);
}

/* ---- system calls ---- */

#ifdef NATIVE_ARCH

/* System calls that image work never needs and an intruder would: the network, other processes,
 * other programs, the kernel's larger attack surfaces. */
static const int denied[] = {
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_unshare, SYS_setns, SYS_mount, SYS_umount2,
    SYS_pivot_root, SYS_chroot, SYS_bpf, SYS_perf_event_open, SYS_keyctl, SYS_add_key,
    SYS_request_key, SYS_userfaultfd, SYS_personality,
    SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_linkat, SYS_symlinkat, SYS_unlinkat,
    SYS_renameat2, SYS_mkdirat, SYS_mknodat, SYS_setrlimit, SYS_init_module, SYS_finit_module,
#ifdef SYS_fork
    SYS_fork, SYS_vfork, SYS_chmod, SYS_chown, SYS_link, SYS_symlink, SYS_unlink, SYS_rename,
    SYS_mkdir, SYS_mknod, SYS_rmdir,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#endif
#ifdef SYS_pidfd_open
    SYS_pidfd_open, SYS_pidfd_send_signal,
#endif
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
};

#define NR      offsetof(struct seccomp_data, nr)
#define ARG0    offsetof(struct seccomp_data, args[0])
#define LOAD(what)        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define SKIP_UNLESS(k, n) (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (n))
#define RETURN(what)      (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (what))
#define DENY(err)         RETURN(SECCOMP_RET_ERRNO | (err))

static bool filter_syscalls(void)
{
    struct sock_filter code[20 + 2 * sizeof denied / sizeof *denied];
    unsigned n = 0;
    code[n++] = LOAD(offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
    code[n++] = LOAD(NR);
#ifdef __x86_64__
    /* The x32 numbers would walk around the list. */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1);
    code[n++] = DENY(ENOSYS);
#endif
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        code[n++] = SKIP_UNLESS((unsigned)denied[i], 1);
        code[n++] = DENY(EPERM);
    }
#ifdef SYS_clone3
    /* Its flags are behind a pointer; glibc falls back to clone when it does not exist. */
    code[n++] = SKIP_UNLESS(SYS_clone3, 1);
    code[n++] = DENY(ENOSYS);
#endif
    /* libvips needs threads; RLIMIT_NPROC cannot tell them from processes, this can. */
    code[n++] = SKIP_UNLESS(SYS_clone, 3);
    code[n++] = LOAD(ARG0);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 4, 0);
    code[n++] = DENY(EPERM);
    /* abort() signals its own process; nobody else's. */
    code[n++] = SKIP_UNLESS(SYS_tgkill, 2);
    code[n++] = LOAD(ARG0);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)getpid(), 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ALLOW);
    code[n++] = DENY(EPERM);
    struct sock_fprog program = { (unsigned short)n, code };
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool seccomp_works(void)
{
    /* A NULL program: EFAULT means that filters are known. */
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT;
}

#else

static bool filter_syscalls(void)
{
    return false;
}

static bool seccomp_works(void)
{
    return false;
}

#endif

/* ---- files ---- */

#ifdef HAVE_LANDLOCK

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILE_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

static void allow_fd(int ruleset, int fd, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
    /* A memfd is refused here and needs no rule: it is in no file hierarchy. */
    (void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void allow_path(int ruleset, const char *path)
{
    struct stat st;
    int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0)
        allow_fd(ruleset, fd, S_ISDIR(st.st_mode) ? READ_RIGHTS : LANDLOCK_ACCESS_FS_READ_FILE);
    close(fd);
}

static void restrict_files(bool read_only, const char *extra, const int *files, unsigned count)
{
    static const char *const system[] = {
        "/usr", "/lib", "/lib64", "/etc/fonts", "/etc/ld.so.cache", "/var/cache/fontconfig",
        "/proc/self", "/dev/null", "/dev/urandom", "/sys/devices/system/cpu",
    };
    struct landlock_ruleset_attr attr = { .handled_access_fs = (1u << 13) - 1 };
    size_t known = sizeof attr.handled_access_fs;    /* what ABI 1 has */
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, known, 0);
    if (ruleset < 0)
        return;
    for (size_t i = 0; read_only && i < sizeof system / sizeof *system; i++)
        allow_path(ruleset, system[i]);
    if (read_only)
        allow_path(ruleset, extra);
    for (unsigned i = 0; i < count; i++)
        allow_fd(ruleset, files[i], FILE_RIGHTS);
    (void)syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
}

static bool landlock_works(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

#else

static void restrict_files(bool read_only, const char *extra, const int *files, unsigned count)
{
    (void)read_only, (void)extra, (void)files, (void)count;
}

static bool landlock_works(void)
{
    return false;
}

#endif

/* ---- entry points ---- */

unsigned px_jail_prepare(void)
{
    unsigned can = 0;
    /* A privileged process needs no user namespace for it. */
    if (unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
        can |= PX_JAIL_NET;
    if (seccomp_works())
        can |= PX_JAIL_SECCOMP;
    if (landlock_works())
        can |= PX_JAIL_LANDLOCK;
    return can;
}

bool px_jail_enter(const px_jail_limits *limits, bool read_only, const char *extra,
                   const int *files, unsigned file_count)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !set_limits(limits))
        return false;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);   /* people's pictures: no core, no debugger */
    restrict_files(read_only, extra, files, file_count);
    (void)filter_syscalls();
    return true;
}
