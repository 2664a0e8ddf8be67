/* Starting and ending the helper program, for helper.c. */
#ifndef PX_IMAGE_HELPER_SPAWN_H
#define PX_IMAGE_HELPER_SPAWN_H

#include "helper.h"
#include <sys/types.h>

typedef struct {
    pid_t pid;      /* 0 = none */
    int sock;       /* -1 = none; close-on-exec, non-blocking */
} px_helper_proc;

/* Starts the program with a bare environment, our socket as its descriptor 3, /dev/null as 0 and
 * 1, our stderr, and nothing else open. `config` has no zero members. */
px_err *px_helper_spawn(apr_pool_t *pool, const px_helper_config *config, px_helper_proc *proc);
/* Closes the socket, kills the program and collects it. Its children die with it. */
void px_helper_reap(px_helper_proc *proc);

#endif
