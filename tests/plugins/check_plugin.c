/* check_plugin FILE [CASES]: the conformance kit as a program of its own, for tests that run before
 * pixshiftctl is installed. */
#include "plugin/plugin.h"

#include <apr_general.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    apr_pool_t *pool;
    px_buf *report;
    bool fine;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: check_plugin FILE [CASES]\n");
        return 2;
    }
    apr_initialize();
    apr_pool_create(&pool, NULL);
    report = px_buf_make(pool, 1024);
    fine = px_plugin_conformance(pool, argv[1], argc > 2 ? argv[2] : NULL, report);
    fputs(report->data, stdout);
    apr_terminate();
    return fine ? 0 : 1;
}
