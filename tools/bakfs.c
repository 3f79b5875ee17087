/* bakfs: mounts a store. Called mount.bakfs it is the helper of mount(8), with that one's flags. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "fs/background.h"
#include "fs/mount.h"
#include "fs/mountpoint.h"
#include "util/cleanup.h"
#include "util/report.h"

typedef struct Arguments {
    OptionList options;
    bool foreground, debug;
    /* Of mount.bakfs only: */
    bool fake;                /* mount nothing */
    const char *in_namespace; /* enter this mount namespace first */
    bool ignored;             /* flags without a meaning here */
    const char *ignored_text; /* the same with a value */
} Arguments;

#define AT(field) offsetof(Arguments, field)

#define EPILOGUE                                                                                   \
    "Options for -o, separated by commas:\n"                                                       \
    "  collection=NS/NAME        what the root shows (default: the store's collection)\n"          \
    "  cache_size=SIZE           memory for decompressed chunks (default 256M)\n"                  \
    "  threads=N                 threads that read ahead (default: one a processor; 0: none)\n"    \
    "  readahead_kb=N            how far the kernel reads ahead (root only; default 1024)\n"       \
    "  xattr                     show user.bakfs.* attributes\n"                                   \
    "  allow_other               let other users in\n"                                             \
    "and those of mount(8), such as noexec and x-systemd.automount.\n"                             \
    "\n"                                                                                           \
    "HUP looks for new backups at once; INT and TERM unmount. See bakfs(1)."

#define SUMMARY                                                                                    \
    "Mounts the backups of a bakfs store, read-only: latest/, archive/, by-id/ and collections/."

static const Option driver_options[] = {
    {OPTION_LIST, 'o', "options", "OPTIONS", AT(options), "Mount options; see below."},
    {OPTION_FLAG, 'f', "foreground", NULL, AT(foreground),
     "Stay in the foreground; messages go to stderr instead of syslog."},
    {OPTION_FLAG, 'd', "debug", NULL, AT(debug), "Print every request. Implies -f."},
    {OPTION_END},
};

static const OptionProgram driver = {
    .name = "bakfs",
    .synopsis = "STORE MOUNTPOINT [-o OPTIONS] [-f]",
    .summary = SUMMARY,
    .options = driver_options,
    .epilogue = EPILOGUE,
};

static const Option helper_options[] = {
    {OPTION_LIST, 'o', "options", "OPTIONS", AT(options), "Mount options; see below."},
    {OPTION_FLAG, 'f', "fake", NULL, AT(fake), "Look whether it would work, and mount nothing."},
    {OPTION_TEXT, 'N', "namespace", "NS", AT(in_namespace),
     "Mount in the mount namespace of the process NS, or that of the file NS; STORE and MOUNTPOINT "
     "are paths there."},
    {OPTION_FLAG, 'n', "no-mtab", NULL, AT(ignored), "Ignored; for mount(8)."},
    {OPTION_FLAG, 's', "sloppy", NULL, AT(ignored), "Ignored; for mount(8)."},
    {OPTION_FLAG, 'v', "verbose", NULL, AT(ignored), "Ignored; for mount(8)."},
    {OPTION_TEXT, 't', "types", "TYPE", AT(ignored_text), "Ignored; for mount(8)."},
    {OPTION_END},
};

static const OptionProgram helper = {
    .name = "mount.bakfs",
    .synopsis = "STORE MOUNTPOINT [-fnsv] [-N NS] [-o OPTIONS]",
    .summary = SUMMARY " Called by mount(8) for the type bakfs.",
    .options = helper_options,
    .epilogue = EPILOGUE,
};

static const char *program_name = "bakfs";

/* Whether stderr leads nowhere any more. Changes once, while the mount becomes ready. */
static atomic_bool detached;

static void log_line(int priority, const char *message)
{
    if (atomic_load(&detached))
        syslog(priority, "%s", message);
    else
        report_note(program_name, "%s", message);
}

static void detach(void *ctx)
{
    Background *b = ctx;
    if (b->pipe < 0)
        return;
    openlog(program_name, LOG_PID, LOG_DAEMON);
    atomic_store(&detached, true);
    background_ready(b);
}

static int run(const char *store, const char *mountpoint, const Arguments *a, Error *e)
{
    _cleanup_(mount_options_release) MountOptions options = {0};
    Background background = {.pipe = -1, .null = -1};
    bool foreground = a->foreground || a->debug || a->fake;
    int exit_code;

    int r = mount_options_parse(a->options.items, a->options.n, &options, e);
    if (r == 0 && a->in_namespace)
        r = mountpoint_enter(a->in_namespace, e);
    if (r == 0 && !foreground) {
        r = background_start(&background, &exit_code, e);
        if (r > 0)
            return exit_code;
    }
    if (r < 0)
        return report_error(program_name, e);
    MountRequest request = {
        .store = store,
        .mountpoint = mountpoint,
        .options = &options,
        .debug = a->debug,
        .fake = a->fake,
        .log = log_line,
        .ready = detach,
        .ready_ctx = &background,
    };
    r = mount_run(&request, e);
    if (r == 0)
        return BK_EXIT_OK;
    if (atomic_load(&detached))
        log_line(LOG_ERR, e->message ? e->message : "out of memory");
    return report_error(program_name, e);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    bool is_helper = strcmp(slash ? slash + 1 : argv[0], "mount.bakfs") == 0;
    const OptionProgram *program = is_helper ? &helper : &driver;
    Arguments a = {0};
    Error e = ERROR_INIT;
    int first;

    program_name = program->name;
    int code = report_options(program, argc, argv, &a, &first);
    if (code < 0 && argc - first != 2) {
        options_usage_error(program, &e, "%s",
                            argc - first < 2 ? "a STORE and a MOUNTPOINT are needed"
                                             : "too many operands: STORE and MOUNTPOINT are all");
        code = report_error(program_name, &e);
    }
    if (code < 0)
        code = run(argv[first], argv[first + 1], &a, &e);
    option_list_release(&a.options);
    return code;
}
