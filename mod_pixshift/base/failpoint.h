/* Fail-points: named places where a test makes the process die, fail or wait.
 * PIXSHIFT_FAILPOINT="name:nth:action[,…]", action = kill | error | delay:MS; the nth time the
 * place is reached (counting from 1; per process, or over all processes when
 * PIXSHIFT_FAILPOINT_DIR names a folder for shared counters).  Compiled in only with
 * --enable-failpoints; otherwise constant false.
 * Names are listed in docs/internals/failpoints.md. Refused in production mode. */
#ifndef PX_BASE_FAILPOINT_H
#define PX_BASE_FAILPOINT_H

#include <stdbool.h>

#ifdef PX_FAILPOINTS
/* True when the caller shall behave as if the step had failed. */
bool px_failpoint(const char *name);
bool px_failpoints_active(void);
#else
#define px_failpoint(name) (false)
#define px_failpoints_active() (false)
#endif

#endif
