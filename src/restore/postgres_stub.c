#include <errno.h>
#include "restore/targets.h"
int restore_to_postgres(Content *c, const char *spec, RestoreResult *result, Error *e)
{
    return error_set(e, ENOSYS, "not yet");
}
