/* The kinds of target. Each fills the counts of `result`, and leaves it as it was on failure. */
#pragma once

#include "restore/content.h"

/* `spec` is what follows "file:" or "sqlite:", or a whole connection string. */
int restore_to_files(Content *c, const char *spec, RestoreResult *result, Error *e);
int restore_to_sqlite(Content *c, const char *spec, RestoreResult *result, Error *e);
int restore_to_postgres(Content *c, const char *spec, RestoreResult *result, Error *e);

/* What all of them do: ask before `what` is touched, tell a line, tell progress, note in `result`
 * what was left out, see whether to stop. */
int restore_confirm(const RestoreOptions *o, Error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void restore_note(const RestoreOptions *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void restore_progress(const RestoreOptions *o, uint64_t bytes, uint64_t total, const char *what);
int restore_left_out(RestoreResult *result, const char *what, const char *why, Error *e);
int restore_check_cancel(const RestoreOptions *o, Error *e);

/* A store holds what bakfs writes into it, and nothing else: -EINVAL when `target`, a file or
 * directory that need not be there, lies in the directory `store`. */
int restore_check_outside(const char *target, const char *store, Error *e);
