/* SQL of the versioned prompts of try-ons. */
#ifndef PX_STUDIO_PROMPT_STORE_H
#define PX_STUDIO_PROMPT_STORE_H

#include "base/error.h"
#include "db/db.h"

typedef struct {
    const char *id, *name, *type, *content, *created_by, *notes;
    int64_t version;
    bool is_active;
    int64_t activated_at, created_at;   /* usec, 0 = never */
} px_prompt;

/* Newest version first within each type; type NULL = all. */
px_err *px_prompt_list(px_db *db, apr_pool_t *pool, const char *type, int64_t limit, int64_t offset,
                       px_prompt **list, int *count, int64_t *total);
px_err *px_prompt_get(px_db *db, apr_pool_t *pool, const char *id, px_prompt **out);
/* Inside a transaction, locked against changes. */
px_err *px_prompt_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_prompt **out);
/* NOT_FOUND when no version of the type is in use. */
px_err *px_prompt_active(px_db *db, apr_pool_t *pool, const char *type, px_prompt **out);
/* The active system prompt and that of `type`, as one text. */
px_err *px_prompt_compose(px_db *db, apr_pool_t *pool, const char *type, const char **text);
/* A new version of its type. */
px_err *px_prompt_add(px_conn *conn, apr_pool_t *pool, const px_prompt *prompt, const char **id);
px_err *px_prompt_activate(px_conn *conn, apr_pool_t *pool, const char *id);
px_err *px_prompt_annotate(px_conn *conn, apr_pool_t *pool, const char *id, const char *name,
                           const char *notes);

#endif
