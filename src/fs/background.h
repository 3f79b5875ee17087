/* Background: a program that goes on without its terminal, and whose caller learns how that went.
 */
#pragma once

#include "util/error.h"

typedef struct Background {
    int pipe; /* to the process that waits; -1 when there is none */
    int null; /* /dev/null, where stdin, stdout and stderr will lead */
} Background;

/* Fork. In the new process 0 is returned; it does the work, and prints what goes wrong, until
 * background_ready. The old one waits for that and gets 1, with the exit code to leave with in
 * `ret_exit`: 0 when the new process is ready, else the code it ended with. Before any thread is
 * started, and with the standard descriptors open (io_fill_standard). -errno when it can't fork. */
int background_start(Background *b, int *ret_exit, Error *e);

/* In the new process: let go of the terminal and the working directory, and the waiting process
 * return 0. Does nothing when already done, or when there was no fork (`pipe` -1). */
void background_ready(Background *b);
