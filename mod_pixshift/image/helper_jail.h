/* What a child of the image helper may still do: resource limits, no network, no new processes, no
 * file but those handed over.  Every layer is best effort, because kernels and containers differ;
 * the resource limits and the wall clock always hold.  Linked into the helper program only. */
#ifndef PX_IMAGE_HELPER_JAIL_H
#define PX_IMAGE_HELPER_JAIL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t memory;        /* bytes of address space */
    uint64_t file_size;     /* bytes */
    unsigned cpu_s;
} px_jail_limits;

enum { PX_JAIL_NET = 1, PX_JAIL_SECCOMP = 2, PX_JAIL_LANDLOCK = 4 };

/* Once in the parent, before it has threads: takes the network away from it and all its children.
 * Returns the PX_JAIL_ bits that this system can enforce. */
unsigned px_jail_prepare(void);

/* In a child: limits, no new privileges, the system call filter. `files` are the task's own and
 * stay usable through /proc/self/fd.  With `read_only` the child may open system files (libraries,
 * fonts) and the one named by `extra` for reading, otherwise no file at all.  False when a limit
 * that must hold was refused. */
bool px_jail_enter(const px_jail_limits *limits, bool read_only, const char *extra,
                   const int *files, unsigned file_count);

#endif
