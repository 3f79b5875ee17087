#include "fs/watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "fs/mountpoint.h"

#define INTERVAL_NS 250000000L /* a new backup shows within a second: look four times in one */
#define FAILED      4          /* intervals; after a list that could not be read */
#define RETRY       20         /* intervals; after a failed read, in case packs were away */

struct Watch {
    WatchOptions o;
    pthread_t thread, looper;
    atomic_bool end;
    int asked;       /* how often INT or TERM came */
    bool has_failed; /* the last look at the list of backups */
};

static void watched_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGHUP);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGTERM);
}

/* Its only effect is that the loop's wait returns with EINTR. */
static void wake(int signal_number)
{
}

void watch_block_signals(void)
{
    sigset_t set;
    struct sigaction action = {.sa_handler = wake};
    watched_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void rescan(Watch *w)
{
    Error e = ERROR_INIT;
    w->has_failed = fs_rescan(w->o.fs, w->o.session, &e) < 0;
    if (w->has_failed)
        fs_log_error(w->o.fs, "cannot read the list of backups", &e);
    error_release(&e);
}

/* End the session without unmounting first: its loop is told, and unmounts after. */
static void end_session(Watch *w)
{
    fuse_session_exit(w->o.session);
    pthread_kill(w->looper, SIGUSR1);
}

static void unmount(Watch *w)
{
    Error e = ERROR_INIT;
    int r = mountpoint_unmount(w->o.mountpoint, w->o.device, false, w->o.unmounter, &e);
    if (r == -EBUSY) {
        fs_log(w->o.fs, LOG_NOTICE,
               "%s is in use: it is unmounted now, and the driver ends with its last user (a "
               "second signal ends it at once)",
               w->o.mountpoint);
        error_release(&e);
        r = mountpoint_unmount(w->o.mountpoint, w->o.device, true, w->o.unmounter, &e);
    }
    if (r == -ESTALE) {
        fs_log(w->o.fs, LOG_NOTICE,
               "%s is unmounted already: the driver ends with the mount's last user (a second "
               "signal ends it at once)",
               w->o.mountpoint);
    } else if (r < 0) {
        fs_log_error(w->o.fs, "cannot unmount", &e);
        end_session(w);
    }
    error_release(&e);
}

static void take_signal(Watch *w, int signal_number)
{
    if (signal_number == SIGHUP) {
        rescan(w);
        return;
    }
    if (w->asked++ > 0) {
        end_session(w);
        return;
    }
    if (w->o.stopping)
        w->o.stopping();
    unmount(w);
}

static bool is_time_to_rescan(Watch *w, unsigned *since)
{
    ++*since;
    if (w->has_failed && *since < FAILED)
        return false;
    if (fs_changed(w->o.fs) || (*since >= RETRY && fs_failed(w->o.fs))) {
        *since = 0;
        return true;
    }
    return false;
}

static void *watch_thread(void *arg)
{
    Watch *w = arg;
    unsigned since = 0; /* intervals since the last look */
    const struct timespec interval = {.tv_nsec = INTERVAL_NS};
    sigset_t set;
    watched_signals(&set);
    while (!atomic_load(&w->end)) {
        int signal_number = sigtimedwait(&set, NULL, &interval);
        if (atomic_load(&w->end))
            break;
        if (signal_number > 0)
            take_signal(w, signal_number);
        else if (fuse_session_exited(w->o.session))
            pthread_kill(w->looper, SIGUSR1); /* in case it was not waiting the first time */
        else if (is_time_to_rescan(w, &since))
            rescan(w);
    }
    return NULL;
}

int watch_start(const WatchOptions *o, Watch **ret_watch, Error *e)
{
    Watch *w = calloc(1, sizeof(*w));
    if (!w)
        return error_oom(e);
    w->o = *o;
    w->looper = pthread_self();
    int r = pthread_create(&w->thread, NULL, watch_thread, w);
    if (r != 0) {
        free(w);
        return error_errno(e, r, "cannot start a thread");
    }
    *ret_watch = w;
    return 0;
}

void watch_stop(Watch *w)
{
    if (!w)
        return;
    atomic_store(&w->end, true);
    pthread_kill(w->thread, SIGHUP);
    pthread_join(w->thread, NULL);
    free(w);
}
