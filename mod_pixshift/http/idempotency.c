/* Idempotency-Key: the first request with a key claims a row, runs, and leaves its reply there for
 * 24 hours; later ones get that reply.  Another request under the same key is refused (422), one
 * that comes while the first still runs is told to wait (409).
 *
 * A reply is kept only when repeating the request could not end otherwise: an error that may pass
 * (error.def: retry LATER, AUTH, PAY) gives the key back.  Bodies are sealed with a key derived
 * from PixShiftSecret, because some carry secrets that are shown once. */
#include "http_internal.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"
#include "base/log.h"

#include <apr_strings.h>
#include <string.h>

#define KEY_MAX 255
#define BODY_MAX (2 * 1024 * 1024)
#define SEAL_PURPOSE "http idempotency"

static const char *const kept_headers[] = {"Location", "Retry-After", "ETag", "Last-Modified"};
#define KEPT_COUNT (sizeof(kept_headers) / sizeof(kept_headers[0]))

static bool key_valid(const char *key)
{
    size_t len = strlen(key);
    for (const char *p = key; *p; p++) {
        if (*p < '!' || *p > '~') {
            return false;
        }
    }
    return len > 0 && len <= KEY_MAX;
}

/* Who the key belongs to. One user's keys are one space, whatever credential was used. */
static const char *subject_of(px_req *req)
{
    return req->who && req->who->user_id
        ? apr_pstrcat(req->pool, "user:", req->who->user_id, NULL)
        : apr_pstrcat(req->pool, "ip:", req->client_ip ? req->client_ip : "", NULL);
}

static const char *request_digest(px_req *req)
{
    const char *text = apr_pstrcat(req->pool, req->method, "\n", req->path, "\n",
                                   req->query ? req->query : "", "\n",
                                   req->body_digest ? req->body_digest : "", NULL);
    return px_sha256_hex(req->pool, text, strlen(text));
}

const char *px_idempotency_id(px_req *req)
{
    const char *key = apr_table_get(req->headers_in, "Idempotency-Key");
    const char *text;
    if (!key) {
        return NULL;
    }
    text = apr_pstrcat(req->pool, subject_of(req), "\n", key, NULL);
    return px_sha256_hex(req->pool, text, strlen(text));
}

/* ---- sealed bodies ---- */

static bool seal_key(px_req *req, unsigned char key[32])
{
    const char *secret = px_set_str(req->app->settings, PX_S_SECRET);
    if (secret) {
        px_derive_key(secret, SEAL_PURPOSE, key);
    }
    return secret != NULL;
}

static const char *aad_of(px_req *req, const px_http_claim *claim)
{
    return apr_pstrcat(req->pool, claim->subject, "\n", claim->key, NULL);
}

/* NULL when there is nothing to keep or no key to seal it with. */
static const char *sealed_body(px_req *req, const px_http_claim *claim, px_reply *reply)
{
    unsigned char key[32];
    size_t len;
    const char *text = px_reply_text(reply, &len);
    if (len > BODY_MAX || !seal_key(req, key)) {
        return NULL;
    }
    return px_seal(req->pool, key, aad_of(req, claim), text, len);
}

/* ---- replaying ---- */

static void replay_headers(px_reply *reply, apr_pool_t *pool, const char *headers)
{
    json_object *obj = NULL;
    if (!headers || px_json_parse(pool, headers, strlen(headers), NULL, &obj)) {
        return;
    }
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        const char *value = px_json_str(obj, kept_headers[i]);
        if (value) {
            apr_table_set(reply->headers, kept_headers[i], value);
        }
    }
}

static px_err *replay(px_req *req, px_reply *reply, const px_http_claim *claim,
                      const px_idem_row *row)
{
    unsigned char key[32];
    unsigned char *text = NULL;
    size_t len = 0;
    if (row->body && seal_key(req, key)) {
        text = px_unseal(req->pool, key, aad_of(req, claim), row->body, &len);
    }
    if (!text) {
        return px_error_say(req->pool, PX_E_CONFLICT,
                            "A request with this Idempotency-Key was done, "
                            "but its reply is no longer at hand.");
    }
    reply->status = row->status;
    px_buf_add(reply->json->buf, text, len);
    replay_headers(reply, req->pool, row->headers);
    apr_table_setn(reply->headers, "Idempotent-Replayed", "true");
    return NULL;
}

px_err *px_idem_begin(px_req *req, px_reply *reply, bool *replayed)
{
    const char *key = apr_table_get(req->headers_in, "Idempotency-Key");
    px_http_claim *claim;
    px_idem_row row;
    px_err *err;
    if (!key) {
        return NULL;
    }
    if (!key_valid(key)) {
        return px_error_say(req->pool, PX_E_VALIDATION,
                            "The Idempotency-Key must have 1 to %d visible ASCII characters.",
                            KEY_MAX);
    }
    claim = apr_pcalloc(req->pool, sizeof(*claim));
    claim->subject = subject_of(req);
    claim->key = key;
    claim->digest = request_digest(req);
    claim->owner = px_token(req->pool, 18);
    err = px_idem_store_claim(req, claim, &row);
    if (err) {
        return err;
    }
    if (row.claimed) {
        px_http_state(req)->claim = claim;
        return NULL;
    }
    if (!row.same) {
        return px_error(req->pool, PX_E_IDEMPOTENCY_MISMATCH, NULL, NULL);
    }
    if (!row.done) {
        return px_error(req->pool, PX_E_IDEMPOTENCY_BUSY, NULL, NULL);
    }
    *replayed = true;
    return replay(req, reply, claim, &row);
}

/* ---- recording ---- */

static const char *headers_json(px_req *req, const px_reply *reply)
{
    px_jw *w = px_jw_make(req->pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        const char *value = apr_table_get(reply->headers, kept_headers[i]);
        if (value) {
            px_jw_str(w, kept_headers[i], value);
        }
    }
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *record(px_req *req, px_reply *reply, const px_http_claim *claim)
{
    const char *body = reply->mode == PX_REPLY_JSON ? sealed_body(req, claim, reply) : NULL;
    return px_idem_store_finish(req, claim, reply->status, headers_json(req, reply), body);
}

static void log_failed(const px_err *failed)
{
    /* The reply is right all the same; the row runs out after a minute. */
    px_log(PX_LOG_WARN, "PXS4040", "the outcome of an Idempotency-Key could not be recorded: %s",
           failed->cause ? failed->cause : failed->text);
}

void px_idem_give_back(px_req *req)
{
    struct px_http_state *state = px_http_state(req);
    px_err *failed = px_idem_store_release(req, state->claim);
    state->claim = NULL;
    if (failed) {
        log_failed(failed);
    }
}

void px_idem_settle(px_req *req, px_reply *reply, const px_err *err)
{
    struct px_http_state *state = px_http_state(req);
    const px_http_claim *claim = state->claim;
    px_err *failed;
    if (reply->mode == PX_REPLY_WAIT) {
        failed = px_idem_store_extend(req, claim, reply->deadline);
    } else if (err && px_err_info(err->id)->retry != PX_RETRY_NEVER) {
        px_idem_give_back(req);
        return;
    } else {
        failed = record(req, reply, claim);
        state->claim = NULL;
    }
    if (failed) {
        log_failed(failed);
    }
}
