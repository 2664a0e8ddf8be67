/* Every page of the console asks for the types and hardly anybody changes them: most requests are served
 * from a copy in this process.  A counter in the shared cache tells of changes made elsewhere; the age
 * limit covers changes made by hand in the database. */
#include "type_list.h"

#include "base/clock.h"
#include "cache/cache.h"
#include "type_store.h"

#include <apr_strings.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FRESH_US 2000000
#define CHANGES "studio:types"
/* Longer than any process looks back. */
#define CHANGES_TTL_MS 86400000

typedef struct {
    char *text;                 /* malloc: outlives requests; NULL = nothing yet */
    size_t len;
    int64_t read_at;            /* px_monotonic */
    int64_t version;
} copy;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static copy copies[2];          /* by spelling */

static int64_t version_now(px_req *req)
{
    const char *text = NULL;
    size_t len;
    long long version = 0;
    if (req->app->cache && !px_cache_get(req->app->cache, req->pool, CHANGES, &text, &len) && text)
        (void)px_parse_int(apr_pstrmemdup(req->pool, text, len), INT64_MIN, INT64_MAX, &version);
    return version;
}

static const char *render(px_req *req, const px_type *list, int count, size_t *len)
{
    px_jw *w = px_jw_make(req->pool,
                          req->dialect == PX_DIALECT_PIXSHIFT ? PX_SPELL_CAMEL : PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_array(w, "types");
    for (int i = 0; i < count; i++) {
        px_jw_object(w, NULL);
        px_jw_str(w, "id", list[i].id);
        px_jw_str(w, "name", list[i].name);
        px_jw_str(w, "description", list[i].description);
        px_jw_bool(w, "enabled", list[i].enabled);
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
    px_jw_end_object(w);
    *len = w->buf->len;
    return w->buf->data;
}

static bool copied(px_req *req, const copy *kept, int64_t version, const char **text, size_t *len)
{
    bool good;
    pthread_mutex_lock(&lock);
    good = kept->text && kept->version == version && px_monotonic() - kept->read_at < FRESH_US;
    if (good) {
        *text = apr_pstrmemdup(req->pool, kept->text, kept->len);
        *len = kept->len;
    }
    pthread_mutex_unlock(&lock);
    return good;
}

/* `version` was read before the rows: a change in between makes this copy stale, not wrong for long. */
static void keep(copy *kept, int64_t version, const char *text, size_t len)
{
    char *mine = malloc(len + 1);
    if (!mine)
        return;
    memcpy(mine, text, len + 1);
    pthread_mutex_lock(&lock);
    free(kept->text);
    *kept = (copy){mine, len, px_monotonic(), version};
    pthread_mutex_unlock(&lock);
}

px_err *px_type_list_text(px_req *req, const char **text, size_t *len)
{
    copy *kept = &copies[req->dialect == PX_DIALECT_PIXSHIFT];
    int64_t version = version_now(req);
    px_type *list;
    int count;
    px_err *err;
    if (copied(req, kept, version, text, len))
        return NULL;
    err = px_type_list(req->app->db, req->pool, true, false, &list, &count);
    if (err)
        return err;
    *text = render(req, list, count, len);
    keep(kept, version, *text, *len);
    return NULL;
}

void px_type_list_changed(px_req *req)
{
    int64_t sum;
    if (req->app->cache)
        (void)px_cache_add(req->app->cache, req->pool, CHANGES, 1, CHANGES_TTL_MS, &sum);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 2; i++)
        copies[i].read_at = px_monotonic() - FRESH_US;
    pthread_mutex_unlock(&lock);
}
