/* Watch: the thread that notices new and deleted backups, and takes the signals. */
#pragma once

#include <stdint.h>

#include "fs/fs.h"
#include "fs/unmounter.h"

typedef struct Watch Watch;

typedef struct WatchOptions {
    Fs *fs;
    struct fuse_session *session;
    const char *mountpoint; /* absolute; must outlive the watch */
    uint64_t device;        /* of the mount, as mountpoint_device gives it */
    Unmounter *unmounter;   /* may be NULL */
    void (*stopping)(void); /* called when a first signal asks for the end; may be NULL */
} WatchOptions;

/* Block the signals that the watch takes (HUP, INT, TERM). In the main thread, before any other
 * thread starts, so that none of them gets one. */
void watch_block_signals(void);

/* Start the thread, from the thread that is about to run the session's loop. HUP looks for new
 * backups at once. INT and TERM unmount; where files are open, the mount disappears from the tree
 * at once and the session ends when the last of them is closed. A second INT or TERM ends it
 * without waiting. */
int watch_start(const WatchOptions *o, Watch **ret_watch, Error *e);

/* End the thread and free. NULL is allowed. */
void watch_stop(Watch *w);
