/* bakfs-store: administration of a store. The verbs are in the store-*.c files. */
#include <stdio.h>
#include <string.h>

#include "store-verbs.h"
#include "util/cleanup.h"
#include "util/report.h"

#define STORE_ENTRY                                                                                \
    {                                                                                              \
        OPTION_TEXT, 's', "store", "DIR", offsetof(StoreOptions, store), "The store.",             \
            .env = "BAKFS_STORE"                                                                   \
    }
#define JSON_ENTRY                                                                                 \
    {                                                                                              \
        OPTION_FLAG, 0, "json", NULL, offsetof(StoreOptions, json), "Print the result as JSON."    \
    }
#define QUIET_ENTRY                                                                                \
    {                                                                                              \
        OPTION_FLAG, 'q', "quiet", NULL, offsetof(StoreOptions, quiet),                            \
            "Print nothing but errors and what was asked for."                                     \
    }

static const Option common_options[] = {STORE_ENTRY, JSON_ENTRY, QUIET_ENTRY, {OPTION_END}};

#define AMONG_ENTRY                                                                                \
    {                                                                                              \
        OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(StoreOptions, collection),             \
            "Look for BACKUP in this collection only."                                             \
    }

static const Option show_options[] = {
    STORE_ENTRY, AMONG_ENTRY, JSON_ENTRY, QUIET_ENTRY, {OPTION_END}};

static const Option init_options[] = {
    STORE_ENTRY,
    {OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(StoreOptions, collection),
     "The store's default collection; the first backup decides when not given."},
    JSON_ENTRY,
    QUIET_ENTRY,
    {OPTION_END},
};

static const Option list_options[] = {
    STORE_ENTRY,
    {OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(StoreOptions, collection),
     "Only backups of this collection."},
    {OPTION_TEXT, 0, "namespace", "NS", offsetof(StoreOptions, namespace),
     "Only backups of collections in this namespace."},
    {OPTION_INT, 'n', "limit", "N", offsetof(StoreOptions, limit), "The newest N only.", .min = 1,
     .max = 1 << 28},
    {OPTION_TEXT, 0, "since", "TIME", offsetof(StoreOptions, since),
     "Only backups taken at TIME or later: 2026-01-15, 2026-01-15T14:30:45Z (UTC), @SECONDS or "
     "an age like 7d (s m h d w)."},
    JSON_ENTRY,
    QUIET_ENTRY,
    {OPTION_END},
};

static const Option delete_options[] = {
    STORE_ENTRY,
    AMONG_ENTRY,
    {OPTION_FLAG, 'y', "yes", NULL, offsetof(StoreOptions, yes), "Do not ask."},
    JSON_ENTRY,
    QUIET_ENTRY,
    {OPTION_END},
};

static const Option reindex_options[] = {
    STORE_ENTRY,
    {OPTION_NUMBER, 0, "lock-wait", "SECONDS", offsetof(StoreOptions, lock_wait),
     "How long to wait for another writer (default 600); 0 fails at once with exit status 11.",
     .min = 0, .max = 1 << 30},
    JSON_ENTRY,
    QUIET_ENTRY,
    {OPTION_END},
};

typedef struct Verb {
    const char *name;
    OptionProgram program;
    bool takes_backup;
    int (*run)(const StoreOptions *o, const char *operand);
} Verb;

static const Verb verbs[] = {
    {"init",
     {.name = STORE_PROGRAM " init",
      .synopsis = "[OPTION]...",
      .summary = "Make an empty store in a directory that does not exist or is empty.",
      .options = init_options},
     .run = verb_init},
    {"list",
     {.name = STORE_PROGRAM " list",
      .synopsis = "[OPTION]...",
      .summary = "List the backups, newest first.",
      .options = list_options},
     .run = verb_list},
    {"show",
     {.name = STORE_PROGRAM " show",
      .synopsis = "[OPTION]... BACKUP",
      .summary = "Show one backup; with --json its whole manifest.",
      .options = show_options},
     .takes_backup = true,
     .run = verb_show},
    {"delete",
     {.name = STORE_PROGRAM " delete",
      .synopsis = "[OPTION]... BACKUP",
      .summary = "Make a backup disappear at once, in mounted trees too. Asks first on a terminal.",
      .options = delete_options},
     .takes_backup = true,
     .run = verb_delete},
    {"reindex",
     {.name = STORE_PROGRAM " reindex",
      .synopsis = "[OPTION]...",
      .summary = "Build the catalogue (metadata.db) anew from packs, manifests and events.",
      .options = reindex_options},
     .run = verb_reindex},
};

static const OptionProgram program = {
    .name = STORE_PROGRAM,
    .synopsis = "[OPTION]... VERB [OPTION]... [BACKUP]",
    .summary = "Administer a store.",
    .options = common_options,
    .epilogue =
        "Verbs ('" STORE_PROGRAM " VERB --help' lists a verb's options):\n"
        "  init                      Make an empty store.\n"
        "  list                      List the backups, newest first.\n"
        "  show BACKUP               Show one backup.\n"
        "  delete BACKUP             Make a backup disappear at once.\n"
        "  reindex                   Build the catalogue anew.\n"
        "\n"
        "BACKUP is an id, a unique prefix of one, an archive name, a time or its first part,\n"
        "'latest' (of the default collection, or of --collection), or NS/NAME: that collection's\n"
        "latest. Exit status: 0 done; 1 failed; 2 wrong usage; 10 no such store; 11 the store "
        "is\n"
        "locked by another writer. See bakfs-store(1).",
    .stop_at_operand = true,
};

static const Verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* Parse the verb's own options (argv[0] is the verb), check what it needs, and run it. */
static int run_verb(const Verb *verb, int argc, char **argv, StoreOptions *o)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    int first = 0, r = report_options(&verb->program, argc, argv, o, &first);
    if (r >= 0)
        return r;
    int operands = argc - first;
    if (!o->store)
        options_usage_error(&verb->program, &e, "no store: give --store DIR or set $BAKFS_STORE");
    else if (verb->takes_backup && operands != 1)
        options_usage_error(&verb->program, &e, "%s takes one BACKUP, not %d", verb->name,
                            operands);
    else if (!verb->takes_backup && operands > 0)
        options_usage_error(&verb->program, &e, "%s takes no operand '%s'", verb->name,
                            argv[first]);
    if (e.message)
        return report_error(STORE_PROGRAM, &e);
    return verb->run(o, verb->takes_backup ? argv[first] : NULL);
}

int main(int argc, char **argv)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    StoreOptions o = {.lock_wait = 600};
    int first = 0, r = report_options(&program, argc, argv, &o, &first);
    if (r >= 0)
        return r;
    const Verb *verb = first < argc ? find_verb(argv[first]) : NULL;
    if (verb)
        return run_verb(verb, argc - first, argv + first, &o);
    if (first < argc)
        options_usage_error(&program, &e, "unknown verb '%s'", argv[first]);
    else
        options_usage_error(&program, &e, "no verb given");
    return report_error(STORE_PROGRAM, &e);
}
