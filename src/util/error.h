/* Errors: a function that can fail returns 0 or a negative errno and describes the failure in an
 * Error that its caller owns. Libraries never print; programs print an Error once. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

/* Exit codes, the same for every program. */
enum {
    BK_EXIT_OK = 0,
    BK_EXIT_FAILED = 1,       /* nothing was committed, or damage was found */
    BK_EXIT_USAGE = 2,        /* wrong arguments */
    BK_EXIT_PARTIAL = 3,      /* done, but parts were left out */
    BK_EXIT_NO_STORE = 10,    /* the path holds no bakfs store */
    BK_EXIT_LOCKED = 11,      /* another writer holds the store */
    BK_EXIT_WRONG_KEY = 12,   /* reserved for encrypted stores */
    BK_EXIT_INTERRUPTED = 130 /* SIGINT or SIGTERM */
};

typedef struct Error {
    int errnum;    /* positive errno, 0 when unset */
    int exit_code; /* one of BK_EXIT_*; 0 stands for BK_EXIT_FAILED */
    char *message; /* one sentence, no newline at its end; owned */
    char *hint;    /* what to do next, or NULL; owned */
} Error;

#define ERROR_INIT ((Error){0})

/* Set `e` (may be NULL) to `errnum` (positive) with a formatted message, replacing what it held.
 * Returns -errnum, so that `return error_set(e, EIO, "...")` reads well. errno is left alone. */
int error_set(Error *e, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As error_set, and append ": " and strerror(errnum). */
int error_errno(Error *e, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Set the hint of an error already set; NULL `e` is allowed. */
void error_hint(Error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " before the message of an error already set. */
void error_prefix(Error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Set the exit code of an error already set. */
void error_exit_code(Error *e, int exit_code);

/* "out of memory", -ENOMEM. */
int error_oom(Error *e);

/* Move `from` into `to` (either may be NULL); `from` ends empty. Returns -errnum of what moved. */
int error_move(Error *to, Error *from);

/* Free what `e` holds and make it empty. NULL is allowed. */
void error_release(Error *e);
