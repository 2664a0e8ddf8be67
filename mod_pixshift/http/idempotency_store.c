/* Table pixshift.idempotency (sql/0008_idempotency). */
#include "http_internal.h"

#include "base/clock.h"
#include "db/db.h"

#include <string.h>

/* One statement decides: a new key, one that ran out, or one whose owner died is claimed; else
 * nothing is returned and the row is read. */
#define CLAIM_SQL \
    "INSERT INTO pixshift.idempotency AS i (subject, key, route, digest, owner)" \
    " VALUES ($1, $2, $3, $4, $5)" \
    " ON CONFLICT (subject, key) DO UPDATE SET route = EXCLUDED.route, digest = EXCLUDED.digest," \
    "  owner = EXCLUDED.owner, state = 'running', status = NULL, headers = NULL, body = NULL," \
    "  locked_until = EXCLUDED.locked_until, expires_at = EXCLUDED.expires_at" \
    " WHERE i.expires_at <= pixshift.now()" \
    "    OR (i.state = 'running' AND i.locked_until <= pixshift.now()" \
    "        AND i.digest = EXCLUDED.digest)" \
    " RETURNING 1"

#define READ_SQL \
    "SELECT digest, state, status, headers, body FROM pixshift.idempotency" \
    " WHERE subject = $1 AND key = $2"

static px_err *no_database(px_req *req)
{
    return req->app->db ? NULL : px_error(req->pool, PX_E_UNAVAILABLE, "PXS4041",
                                          "an Idempotency-Key needs a database");
}

static px_err *read_row(px_req *req, const px_http_claim *claim, px_idem_row *row)
{
    px_rows *rows;
    px_err *err = px_db_query(req->app->db, req->pool, &rows, READ_SQL, "ss", claim->subject,
                              claim->key);
    if (err) {
        return err;
    }
    if (px_rows_count(rows) == 0) {     /* given back since: the client comes again */
        row->same = true;
        return NULL;
    }
    row->same = strcmp(px_rows_str(rows, 0, 0), claim->digest) == 0;
    row->done = strcmp(px_rows_str(rows, 0, 1), "done") == 0;
    row->status = (int)px_rows_int(rows, 0, 2);
    row->headers = px_rows_str(rows, 0, 3);
    row->body = px_rows_str(rows, 0, 4);
    return NULL;
}

px_err *px_idem_store_claim(px_req *req, const px_http_claim *claim, px_idem_row *row)
{
    px_rows *rows;
    px_err *err = no_database(req);
    memset(row, 0, sizeof(*row));
    if (!err) {
        err = px_db_query(req->app->db, req->pool, &rows, CLAIM_SQL, "sssss", claim->subject,
                          claim->key, req->route->pattern, claim->digest, claim->owner);
    }
    if (err) {
        return err;
    }
    row->claimed = px_rows_count(rows) == 1;
    return row->claimed ? NULL : read_row(req, claim, row);
}

/* Only the owner's row: whoever was taken over must not write over the newcomer's. */
px_err *px_idem_store_finish(px_req *req, const px_http_claim *claim, int status,
                             const char *headers, const char *body)
{
    return px_db_query(req->app->db, req->pool, NULL,
        "UPDATE pixshift.idempotency SET state = 'done', status = $4, headers = $5, body = $6"
        " WHERE subject = $1 AND key = $2 AND owner = $3",
        "sssijs", claim->subject, claim->key, claim->owner, status, headers, body);
}

px_err *px_idem_store_release(px_req *req, const px_http_claim *claim)
{
    return px_db_query(req->app->db, req->pool, NULL,
        "DELETE FROM pixshift.idempotency WHERE subject = $1 AND key = $2 AND owner = $3", "sss",
        claim->subject, claim->key, claim->owner);
}

px_err *px_idem_store_extend(px_req *req, const px_http_claim *claim, int64_t until)
{
    return px_db_query(req->app->db, req->pool, NULL,
        "UPDATE pixshift.idempotency SET locked_until ="
        " greatest(pixshift.now(), pixshift.from_usec($4)) + interval '15 seconds'"
        " WHERE subject = $1 AND key = $2 AND owner = $3",
        "sssl", claim->subject, claim->key, claim->owner, until);
}

px_err *px_idempotency_purge(const px_app *app, apr_pool_t *pool, int64_t *removed)
{
    px_rows *rows;
    px_err *err = px_db_query(app->db, pool, &rows,
        "WITH old AS (DELETE FROM pixshift.idempotency WHERE (subject, key) IN ("
        "  SELECT subject, key FROM pixshift.idempotency WHERE expires_at <= pixshift.now()"
        "   LIMIT 10000 FOR UPDATE SKIP LOCKED) RETURNING 1)"
        " SELECT count(*) FROM old", "");
    *removed = err ? 0 : px_rows_int(rows, 0, 0);
    return err;
}
