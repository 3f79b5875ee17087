#include "restore/tree_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool tree_is_empty(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return false;
    struct dirent *entry;
    bool empty = true;
    while (empty && (entry = readdir(d)))
        empty = is_dot(entry->d_name);
    closedir(d);
    return empty;
}

static void remove_at(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
        return;
    fchmodat(dir, name, 0700, 0); /* our own directories are read-only */
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(d)))
        if (!is_dot(entry->d_name))
            remove_at(dirfd(d), entry->d_name);
    closedir(d);
    unlinkat(dir, name, AT_REMOVEDIR);
}

void tree_remove(const char *path)
{
    remove_at(AT_FDCWD, path);
}
