/* ToolFailure: what it means that pg_dump failed, read from its own words. */
#pragma once

/* The errno value for what a child's messages (child_messages) give as the reason: EBUSY a lock was
 * not to be had in time, ENOENT a pattern matches nothing, EINVAL it is malformed, ECONNRESET the
 * connection is lost or was not to be had, EACCES no permission, ESTALE an object is gone, else
 * EIO. `*ret_hint` becomes a static text where there is something to do, else it stays. */
int tool_failure(const char *messages, const char **ret_hint);
