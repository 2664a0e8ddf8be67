/* Members of the SDK's structures by name, for recorded cases. */
#include "conform.h"

#include <apr_strings.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define TEXT(type, member) { #member, offsetof(type, member), PX_FIELD_TEXT }
#define I64(type, member) { #member, offsetof(type, member), PX_FIELD_I64 }
#define U64(type, member) { #member, offsetof(type, member), PX_FIELD_U64 }
#define U32(type, member) { #member, offsetof(type, member), PX_FIELD_U32 }

static const px_field ai_request[] = {
    TEXT(pxs_ai_request, request_id), TEXT(pxs_ai_request, prompt), TEXT(pxs_ai_request, user_tag),
};
static const px_field ai_result[] = {
    TEXT(pxs_ai_result, image_url), TEXT(pxs_ai_result, mime), TEXT(pxs_ai_result, text),
    TEXT(pxs_ai_result, model), I64(pxs_ai_result, input_tokens),
    I64(pxs_ai_result, output_tokens), I64(pxs_ai_result, cached_tokens),
    I64(pxs_ai_result, cost_micro_usd),
};
static const px_field storage_request[] = {
    TEXT(pxs_storage_request, key), TEXT(pxs_storage_request, content_type),
    I64(pxs_storage_request, range_first), I64(pxs_storage_request, range_last),
    U32(pxs_storage_request, to_file), U32(pxs_storage_request, expires_s),
    TEXT(pxs_storage_request, download_name),
};
static const px_field storage_result[] = {
    U64(pxs_storage_result, len), TEXT(pxs_storage_result, url),
};
static const px_field message_request[] = {
    U32(pxs_message_request, channel), TEXT(pxs_message_request, message_id),
    TEXT(pxs_message_request, to), TEXT(pxs_message_request, from),
    TEXT(pxs_message_request, subject), TEXT(pxs_message_request, text),
    TEXT(pxs_message_request, html),
};
static const px_field message_result[] = { TEXT(pxs_message_result, provider_id) };
static const px_field pay_request[] = {
    TEXT(pxs_pay_request, order_id), I64(pxs_pay_request, amount_minor),
    TEXT(pxs_pay_request, currency), TEXT(pxs_pay_request, description),
    TEXT(pxs_pay_request, customer_id), TEXT(pxs_pay_request, customer_email),
    TEXT(pxs_pay_request, payment_method), TEXT(pxs_pay_request, remote_id),
    TEXT(pxs_pay_request, plan_id), TEXT(pxs_pay_request, success_url),
    TEXT(pxs_pay_request, cancel_url), TEXT(pxs_pay_request, reason),
    U32(pxs_pay_request, at_period_end),
};
static const px_field pay_result[] = {
    U32(pxs_pay_result, state), TEXT(pxs_pay_result, remote_id), TEXT(pxs_pay_result, url),
    TEXT(pxs_pay_result, client_secret), I64(pxs_pay_result, amount_minor),
    TEXT(pxs_pay_result, currency), TEXT(pxs_pay_result, failure),
};
static const px_field pay_event[] = {
    TEXT(pxs_pay_event, event_id), TEXT(pxs_pay_event, type), TEXT(pxs_pay_event, order_id),
    TEXT(pxs_pay_event, remote_id), U32(pxs_pay_event, state), I64(pxs_pay_event, amount_minor),
    TEXT(pxs_pay_event, currency), U32(pxs_pay_event, livemode),
    I64(pxs_pay_event, period_start_usec), I64(pxs_pay_event, period_end_usec),
};
static const px_field identity_request[] = {
    TEXT(pxs_identity_request, redirect_uri), TEXT(pxs_identity_request, state),
    TEXT(pxs_identity_request, nonce), TEXT(pxs_identity_request, code_challenge),
    TEXT(pxs_identity_request, code_verifier), TEXT(pxs_identity_request, code),
    TEXT(pxs_identity_request, token),
};
static const px_field identity_result[] = {
    TEXT(pxs_identity_result, url), TEXT(pxs_identity_result, issuer),
    TEXT(pxs_identity_result, subject), TEXT(pxs_identity_result, email),
    TEXT(pxs_identity_result, name), TEXT(pxs_identity_result, first_name),
    TEXT(pxs_identity_result, last_name), TEXT(pxs_identity_result, picture_url),
    U32(pxs_identity_result, email_verified), TEXT(pxs_identity_result, access_token),
    TEXT(pxs_identity_result, refresh_token), TEXT(pxs_identity_result, id_token),
    I64(pxs_identity_result, expires_usec),
};

static const struct {
    pxs_kind kind;
    bool webhook;
    const px_field *request, *result;
    int request_count, result_count;
} tables[] = {
    { PXS_KIND_AI, false, ai_request, ai_result, COUNT(ai_request), COUNT(ai_result) },
    { PXS_KIND_STORAGE, false, storage_request, storage_result, COUNT(storage_request),
      COUNT(storage_result) },
    { PXS_KIND_MESSAGE, false, message_request, message_result, COUNT(message_request),
      COUNT(message_result) },
    { PXS_KIND_PAY, false, pay_request, pay_result, COUNT(pay_request), COUNT(pay_result) },
    { PXS_KIND_PAY, true, NULL, pay_event, 0, COUNT(pay_event) },
    { PXS_KIND_IDENTITY, false, identity_request, identity_result, COUNT(identity_request),
      COUNT(identity_result) },
};

const px_field *px_conform_request_fields(pxs_kind kind, bool webhook, int *count)
{
    for (int i = 0; i < COUNT(tables); i++) {
        if (tables[i].kind == kind && tables[i].webhook == webhook) {
            *count = tables[i].request_count;
            return tables[i].request;
        }
    }
    *count = 0;
    return NULL;
}

const px_field *px_conform_result_fields(pxs_kind kind, bool webhook, int *count)
{
    for (int i = 0; i < COUNT(tables); i++) {
        if (tables[i].kind == kind && tables[i].webhook == webhook) {
            *count = tables[i].result_count;
            return tables[i].result;
        }
    }
    *count = 0;
    return NULL;
}

static const px_field *find(const px_field *fields, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool is_special(const char *special, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = special; (at = strstr(at, name)) != NULL; at += len) {
        if ((at == special || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static int64_t number_of(const void *base, const px_field *field)
{
    const char *at = (const char *)base + field->offset;
    uint32_t narrow;
    int64_t wide;

    if (field->type == PX_FIELD_U32) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static void set_member(apr_pool_t *pool, void *target, const px_field *field, json_object *value)
{
    char *at = (char *)target + field->offset;
    int64_t wide = json_object_get_int64(value);
    uint32_t narrow = (uint32_t)wide;

    if (field->type == PX_FIELD_TEXT) {
        const char *text = value ? apr_pstrdup(pool, json_object_get_string(value)) : NULL;
        memcpy(at, &text, sizeof text);
    } else if (field->type == PX_FIELD_U32) {
        memcpy(at, &narrow, sizeof narrow);
    } else {
        memcpy(at, &wide, sizeof wide);
    }
}

static bool type_fits(const px_field *field, json_object *value)
{
    return field->type == PX_FIELD_TEXT
               ? !value || json_object_is_type(value, json_type_string)
               : json_object_is_type(value, json_type_int);
}

const char *px_conform_fill(apr_pool_t *pool, void *target, const px_field *fields, int count,
                            json_object *from, const char *special)
{
    if (!from) {
        return NULL;
    }
    json_object_object_foreach(from, name, value) {
        const px_field *field = find(fields, count, name);
        if (field && type_fits(field, value)) {
            set_member(pool, target, field, value);
        } else if (field || !is_special(special, name)) {
            return apr_psprintf(pool, "request.%s is %s", name, field ? "of the wrong type"
                                                                      : "no member of the request");
        }
    }
    return NULL;
}

static const char *compare_text(apr_pool_t *pool, const char *name, const char *have,
                                const char *want)
{
    if ((!have && !want) || (have && want && strcmp(have, want) == 0)) {
        return NULL;
    }
    return apr_psprintf(pool, "result.%s is %s%.200s%s, expected %s%.200s%s", name,
                        have ? "\"" : "",
                        have ? have : "NULL", have ? "\"" : "", want ? "\"" : "",
                        want ? want : "NULL", want ? "\"" : "");
}

static const char *compare_member(apr_pool_t *pool, const void *base, const px_field *field,
                                  json_object *want)
{
    const char *text;
    int64_t number;

    if (field->type == PX_FIELD_TEXT) {
        memcpy(&text, (const char *)base + field->offset, sizeof text);
        return compare_text(pool, field->name, text, want ? json_object_get_string(want) : NULL);
    }
    number = number_of(base, field);
    if (number == json_object_get_int64(want)) {
        return NULL;
    }
    return apr_psprintf(pool, "result.%s is %" PRId64 ", expected %" PRId64, field->name, number,
                        json_object_get_int64(want));
}

const char *px_conform_compare(apr_pool_t *pool, const void *have, const px_field *fields,
                               int count,
                               json_object *want, const char *special)
{
    const char *fault = NULL;

    json_object_object_foreach(want, name, value) {
        const px_field *field = find(fields, count, name);
        if (field) {
            fault = compare_member(pool, have, field, value);
        } else if (!is_special(special, name)) {
            fault = apr_psprintf(pool, "result.%s is no member of the result", name);
        }
        if (fault) {
            return fault;
        }
    }
    return NULL;
}
