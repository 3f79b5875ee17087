/* Walk: goes through the files and directories that file: sources name, first to see what can be
 * read, then to store it. Symbolic links are kept as such, never followed; sockets, pipes and
 * devices are left out with a note. */
#pragma once

#include <sys/stat.h>

#include "source/source.h"

/* Something that no walk goes into, known by device and inode. */
typedef struct WalkHole {
    dev_t dev;
    ino_t ino;
    const char *why; /* for a note */
} WalkHole;

typedef struct WalkTotals {
    uint64_t bytes, files; /* symbolic links count as files */
} WalkTotals;

typedef struct Walk {
    const SourceOptions *options;
    const WalkHole *holes;
    size_t n_holes;
    const SourceRun *run; /* NULL: only look */
    uint64_t expected;    /* bytes, by a walk that only looked; for the progress */
    WalkTotals totals;
    json_t *left_out;    /* array of {what, why}; the caller's */
    bool is_incomplete;  /* something in there could not be read */
    uint64_t unreadable; /* when only looking: how many, and some of their names */
    Buf names;
    Buf path; /* of the entry at hand, below files/ */
    uint8_t *buffer;
    int depth;
} Walk;
void walk_release(Walk *w);

/* Go through `path`, a symbolic link to follow or not, as `name`. With `w->run` set, what is there
 * becomes an entry of `to`. -ENOENT and the like when `path` itself can't be had; -EACCES for what
 * can't be read below it, unless the options say to leave that out. */
int walk_path(Walk *w, const char *path, const char *name, DirBuilder *to, Error *e);
