#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "fs/mountpoint.h"
#include "fs/sandbox.h"
#include "fs/watch.h"
#include "util/cleanup.h"

/* What libfuse says goes through one function without a context, so this is global: while a mount
 * is being made its last message, which may come in pieces, is kept for the error; afterwards all
 * are logged. */
static struct {
    pthread_mutex_t lock;
    FsLog log; /* NULL: keep */
    char kept[256];
    size_t kept_len;
    bool kept_whole; /* the last piece ended its line */
} fuse_words = {.lock = PTHREAD_MUTEX_INITIALIZER};

__attribute__((format(printf, 2, 0))) static void take_fuse_words(enum fuse_log_level level,
                                                                  const char *format, va_list ap)
{
    char text[sizeof(fuse_words.kept)];
    vsnprintf(text, sizeof(text), format, ap);
    size_t len = strlen(text);
    bool whole = len > 0 && text[len - 1] == '\n';
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = 0;
    pthread_mutex_lock(&fuse_words.lock);
    FsLog log = fuse_words.log;
    if (!log && level <= FUSE_LOG_WARNING) {
        if (fuse_words.kept_whole)
            fuse_words.kept_len = 0;
        fuse_words.kept_whole = whole;
        size_t room = sizeof(fuse_words.kept) - 1 - fuse_words.kept_len;
        len = len < room ? len : room;
        memcpy(fuse_words.kept + fuse_words.kept_len, text, len);
        fuse_words.kept_len += len;
        fuse_words.kept[fuse_words.kept_len] = 0;
    }
    pthread_mutex_unlock(&fuse_words.lock);
    if (log && len > 0)
        log((int)level, text); /* libfuse's levels are syslog's */
}

/* From now on what libfuse says is logged by `log`, or kept when that is NULL. */
static void route_fuse_words(FsLog log)
{
    pthread_mutex_lock(&fuse_words.lock);
    fuse_words.log = log;
    fuse_words.kept[0] = 0;
    fuse_words.kept_len = 0;
    pthread_mutex_unlock(&fuse_words.lock);
    fuse_set_log_func(take_fuse_words);
}

/* What libfuse said last, without the prefix that it puts before most messages. */
static const char *kept_fuse_words(void)
{
    const char *text = fuse_words.kept;
    return strncmp(text, "fuse: ", 6) == 0 ? text + 6 : text;
}

static int add_option(struct fuse_args *args, const char *name, const char *value)
{
    _cleanup_free_ char *joined = NULL, *escaped = NULL;
    if (asprintf(&joined, "%s%s", name, value) < 0) {
        joined = NULL;
        return -ENOMEM;
    }
    /* A comma in a path must not end the option. */
    if (fuse_opt_add_opt_escaped(&escaped, joined) < 0 || fuse_opt_add_arg(args, "-o") < 0 ||
        fuse_opt_add_arg(args, escaped) < 0)
        return -ENOMEM;
    return 0;
}

static int new_session(const MountRequest *m, const char *store, Fs *fs,
                       struct fuse_session **ret_session, Error *e)
{
    struct fuse_args *args = &m->options->args;
    int r = add_option(args, "ro", "");
    if (r == 0)
        r = add_option(args, "default_permissions", "");
    if (r == 0)
        r = add_option(args, "subtype=", "bakfs");
    if (r == 0)
        r = add_option(args, "fsname=", store);
    if (r == 0 && m->debug)
        r = fuse_opt_add_arg(args, "-d") < 0 ? -ENOMEM : 0;
    if (r < 0)
        return error_oom(e);
    struct fuse_lowlevel_ops ops;
    fs_operations(&ops, m->options->xattr);
    *ret_session = fuse_session_new(args, &ops, sizeof(ops), fs); /* copies them */
    if (*ret_session)
        return 0;
    r = error_set(e, EINVAL, "the mount's options are refused: %s", kept_fuse_words());
    error_hint(e, "'bakfs --help' lists the options");
    error_exit_code(e, BK_EXIT_USAGE);
    return r;
}

static int make_mount(struct fuse_session *session, const char *mountpoint, Error *e)
{
    if (fuse_session_mount(session, mountpoint) == 0)
        return 0;
    const char *why = kept_fuse_words();
    int r = error_set(e, EIO, "cannot mount on %s%s%s", mountpoint, *why ? ": " : "", why);
    if (access("/dev/fuse", F_OK) < 0)
        error_hint(e, "there is no /dev/fuse: `modprobe fuse`, or allow it in this container");
    else if (access("/dev/fuse", R_OK | W_OK) < 0)
        error_hint(e, "this user may not open /dev/fuse: its mode is usually 0666");
    else if (geteuid() != 0)
        error_hint(e, "the package fuse3 must be installed, the directory be yours, and "
                      "user_allow_other stand in /etc/fuse.conf for -o allow_other");
    else
        error_hint(e, "see what the kernel says: dmesg | tail");
    return r;
}

static void tell_systemd(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

static void tell_stopping(void)
{
    tell_systemd("STOPPING=1");
}

/* A mount being served: what the callbacks need. */
typedef struct Serving {
    const MountRequest *request;
    uint64_t device;
    int read_ahead; /* the kernel's setting for this mount, open for writing; or -1 */
    Unmounter *unmounter;
    Fs *fs;
} Serving;

/* Only now, because the kernel lowers the setting again when it has the driver's answer to the
 * first request. */
static void on_first_open(void *ctx)
{
    Serving *s = ctx;
    if (s->read_ahead >= 0 && dprintf(s->read_ahead, "%u\n", s->request->options->readahead_kb) < 0)
        fs_log(s->fs, LOG_WARNING, "cannot set how far the kernel reads ahead: %s",
               strerror(errno));
}

/* Only root may, and not where /sys is read-only. That is no failure unless it was asked for. */
static void open_read_ahead(Serving *s)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(s->device),
             minor(s->device));
    s->read_ahead = open(path, O_WRONLY | O_CLOEXEC);
    if (s->read_ahead < 0 && s->request->options->readahead_asked)
        fs_log(s->fs, LOG_WARNING, "readahead_kb has no effect: cannot open %s: %s", path,
               strerror(errno));
}

/* From the session's first thread, when the kernel has accepted the mount. */
static void on_ready(void *ctx)
{
    const MountRequest *m = ((const Serving *)ctx)->request;
    tell_systemd("READY=1\nSTATUS=mounted");
    if (m->ready)
        m->ready(m->ready_ctx);
}

static int serve(struct fuse_session *session, Error *e)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config)
        return error_oom(e);
    int r = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    /* Positive: a signal number, which the watch's own are not. Negative: what reading failed
     * with; that the mount is gone is the normal end. */
    if (r < 0 && r != -ENODEV && r != -ENOTCONN)
        return error_errno(e, -r, "the mount ended");
    return 0;
}

/* Whether the kernel has let go of the mount. Then libfuse unmounts nothing, only tidies up. */
static bool is_gone(struct fuse_session *session)
{
    struct pollfd p = {.fd = fuse_session_fd(session)};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* With the signals blocked and nothing given up yet, one thread. */
static int prepare(Serving *s, const char *mountpoint, Error *e)
{
    int r = 0;
    if (geteuid() != 0)
        r = unmounter_start(mountpoint, s->device, &s->unmounter, e);
    open_read_ahead(s);
    if (r == 0)
        r = sandbox_enter(e);
    return r < 0 ? r : fs_start(s->fs, e);
}

/* What is left of the mount in the end. libfuse could not start fusermount3 any more. */
static void take_away(const Serving *s, struct fuse_session *session, const char *mountpoint)
{
    if (!is_gone(session)) {
        mountpoint_unmount(mountpoint, s->device, true, s->unmounter, NULL);
        if (mountpoint_is_foreign(mountpoint, s->device))
            return;
    }
    fuse_session_unmount(session);
}

/* With the mount made: serve it, and take it away in the end. */
static int serve_and_unmount(Serving *s, struct fuse_session *session, const char *mountpoint,
                             Error *e)
{
    Watch *watch = NULL;
    s->device = mountpoint_device(mountpoint);
    route_fuse_words(s->request->log);
    int r = prepare(s, mountpoint, e);
    WatchOptions o = {.fs = s->fs,
                      .session = session,
                      .mountpoint = mountpoint,
                      .device = s->device,
                      .unmounter = s->unmounter,
                      .stopping = tell_stopping};
    if (r == 0)
        r = watch_start(&o, &watch, e);
    if (r == 0)
        r = serve(session, e);
    watch_stop(watch); /* before the unmount: that closes the descriptor it writes to */
    route_fuse_words(NULL);
    take_away(s, session, mountpoint);
    unmounter_stop(s->unmounter);
    if (s->read_ahead >= 0)
        close(s->read_ahead);
    return r;
}

static int mount_store(const MountRequest *m, Store *store, const char *store_dir,
                       const char *mountpoint, Error *e)
{
    struct fuse_session *session = NULL;
    Serving serving = {.request = m, .read_ahead = -1};
    FsOptions o = {.cache_size = m->options->cache_size,
                   .threads = m->options->threads,
                   .collection = m->options->collection,
                   .log = m->log,
                   .ready = on_ready,
                   .first_open = on_first_open,
                   .ctx = &serving};
    int r = fs_new(store, &o, &serving.fs, e);
    route_fuse_words(NULL);
    if (r == 0)
        r = new_session(m, store_dir, serving.fs, &session, e);
    if (r == 0 && !m->fake) {
        watch_block_signals(); /* before: one that comes now must not leave a dead mount */
        r = make_mount(session, mountpoint, e);
        if (r == 0)
            r = serve_and_unmount(&serving, session, mountpoint, e);
    }
    if (session)
        fuse_session_destroy(session);
    fs_free(serving.fs);
    return r;
}

int mount_run(const MountRequest *m, Error *e)
{
    _cleanup_free_ char *mountpoint = NULL, *store_dir = NULL;
    Store *store = NULL;
    store_dir = realpath(m->store, NULL); /* the background has another working directory */
    int errnum = errno;
    int r = store_open(store_dir ? store_dir : m->store, &store, e);
    if (r == 0 && !store_dir)
        r = error_errno(e, errnum, "cannot find %s", m->store);
    if (r == 0)
        r = mountpoint_check(m->mountpoint, store_dir, &mountpoint, e);
    if (r == 0)
        r = mount_store(m, store, store_dir, mountpoint, e);
    store_close(store);
    return r;
}
