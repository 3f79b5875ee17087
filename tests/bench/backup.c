/* Makes backups in one process, as a program that links the library does: `bench-backup STORE
 * SOURCE` makes one for every line on standard input and prints the seconds it took. */
#include <errno.h>
#include <string.h>

#include "backup/backup.h"
#include "util/clock.h"

static int back_up(const char *store, const char *source, double *ret_time, Error *e)
{
    const BackupOptions options = {
        .store = store, .sources = &source, .n_sources = 1, .source = {.table_lock_wait = -1}};
    BackupResult result = {0};
    double start = clock_monotonic();
    int r = backup_run(&options, &result, e);
    *ret_time = clock_monotonic() - start;
    backup_result_release(&result);
    return r;
}

int main(int argc, char **argv)
{
    Error e = ERROR_INIT;
    int r = argc == 3 ? 0 : error_set(&e, EINVAL, "usage: bench-backup STORE SOURCE");
    char line[16];
    while (r == 0 && fgets(line, sizeof(line), stdin)) {
        double seconds;
        r = back_up(argv[1], argv[2], &seconds, &e);
        if (r == 0) {
            printf("%.6f\n", seconds);
            fflush(stdout);
        }
    }
    if (r < 0)
        fprintf(stderr, "bench-backup: %s\n", e.message);
    error_release(&e);
    return r < 0;
}
