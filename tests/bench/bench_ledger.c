/* hold + capture through px_db: prints pairs per second.
 * usage: bench_ledger CONNINFO CLIENTS SECONDS   (see bench_ledger.py) */
#include "base/buf.h"
#include "base/clock.h"
#include "db/db.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define USERS 1000

typedef struct { px_db *db; unsigned seed; int64_t until; long pairs; px_err *err; apr_pool_t *pool; } client;

static px_err *pair(client *c, apr_pool_t *pool)
{
    px_rows *rows;
    px_err *err = px_db_query(c->db, pool, &rows,
                              "SELECT pixshift.credit_hold(md5('bench:' || $1)::uuid, 1,"
                              " 'transformation', gen_random_uuid()::text)", "s",
                              apr_itoa(pool, 1 + rand_r(&c->seed) % USERS));
    return err ? err : px_db_query(c->db, pool, NULL,
                                   "SELECT pixshift.credit_capture($1, 1, 'job', 'bench')", "s",
                                   px_rows_str(rows, 0, 0));
}

static void *work(void *baton)
{
    client *c = baton;
    apr_pool_t *pool;

    apr_pool_create_unmanaged(&pool);
    while (!c->err && px_monotonic() < c->until) {
        c->err = pair(c, pool);
        c->pairs += c->err == NULL;
        if (!c->err) {
            apr_pool_clear(pool);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long long clients, seconds;
    apr_pool_t *pool;
    px_db *db;
    client *list;
    pthread_t *threads;
    long pairs = 0;
    int64_t start;

    if (argc != 4 || !px_parse_int(argv[2], 1, 64, &clients)
        || !px_parse_int(argv[3], 1, 600, &seconds)) {
        fprintf(stderr, "usage: bench_ledger CONNINFO CLIENTS SECONDS\n");
        return 2;
    }
    apr_initialize();
    apr_pool_create(&pool, NULL);
    px_db_config config = { .conninfo = argv[1], .max_connections = (int)clients,
                            .skip_schema_check = true, .app_name = "bench_ledger" };
    if (px_db_open(pool, &config, &db)) {
        return 1;
    }
    list = apr_pcalloc(pool, (apr_size_t)clients * sizeof *list);
    threads = apr_pcalloc(pool, (apr_size_t)clients * sizeof *threads);
    start = px_monotonic();
    for (int i = 0; i < clients; i++) {
        list[i] = (client){ .db = db, .seed = (unsigned)(start + i), .until = start + seconds * 1000000 };
        pthread_create(&threads[i], NULL, work, &list[i]);
    }
    for (int i = 0; i < clients; i++) {
        pthread_join(threads[i], NULL);
        pairs += list[i].pairs;
        if (list[i].err) {
            fprintf(stderr, "%s\n", list[i].err->cause);
            return 1;
        }
    }
    printf("%.1f\n", (double)pairs * 1e6 / (double)(px_monotonic() - start));
    return 0;
}
