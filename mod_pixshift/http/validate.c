/* Table-driven validation: a JSON object, form parts or the query string into a struct.
 * Each source is a list of named values; the table says what each must be.  Unknown names are
 * refused with the client's own spelling, so that typing errors never pass as "not given". */
#include "http_internal.h"

#include "base/id.h"

#include <apr_strings.h>
#include <json-c/json_object_iterator.h>
#include <json-c/linkhash.h>
#include <string.h>

/* One given value. */
typedef struct {
    const char *name;           /* as the client wrote it */
    json_object *json;          /* of a JSON body; NULL also stands for null */
    const char *text;           /* of a form or query */
    size_t len;
    bool is_json;
    bool is_file;
} given;

typedef px_err *take_fn(px_req *req, const px_field *field, const given *value, void *out);

/* ---- single values ---- */

static px_err *wrong(px_req *req, const px_field *field, const char *reason)
{
    return px_error_field(req->pool, field->name, "%s", reason);
}

static bool text_of(const given *value, const char **text, size_t *len)
{
    if (!value->is_json) {
        *text = value->text;
        *len = value->len;
        return true;
    }
    if (!value->json || json_object_get_type(value->json) != json_type_string) {
        return false;
    }
    *text = json_object_get_string(value->json);
    *len = (size_t)json_object_get_string_len(value->json);
    return true;
}

static px_err *check_length(px_req *req, const px_field *field, const char *text, size_t len)
{
    int64_t points;
    if (field->min == 0 && field->max == 0) {
        return NULL;
    }
    points = (int64_t)px_utf8_length(text, len);
    if (points < field->min) {
        return points == 0 ? wrong(req, field, "it must not be empty.")
            : px_error_field(req->pool, field->name, "it must have at least %lld characters.",
                             (long long)field->min);
    }
    if (field->max > 0 && points > field->max) {
        return px_error_field(req->pool, field->name, "it may have at most %lld characters.",
                              (long long)field->max);
    }
    return NULL;
}

/* local@domain as far as a syntax check can tell; the mail that is sent tells the rest. */
static bool email_valid(const char *text, size_t len)
{
    const char *at = memrchr(text, '@', len);
    size_t label = 0;
    bool dot = false;
    if (!at || at == text || at - text > 64 || len > 254 ||
        memchr(text, '@', (size_t)(at - text))) {
        return false;
    }
    for (const char *p = text; p < at; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= ' ' || c == 127 || strchr("\"(),:;<>[\\]", c)) {
            return false;
        }
    }
    for (const char *p = at + 1; p < text + len; p++) {
        unsigned char c = (unsigned char)*p;
        bool alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c >= 128;
        if (c == '.') {
            if (label == 0 || p[-1] == '-') {
                return false;
            }
            dot = true;
            label = 0;
        } else if ((!alnum && c != '-') || (c == '-' && label == 0) || ++label > 63) {
            return false;
        }
    }
    return dot && label > 0 && text[len - 1] != '-' && text[0] != '.' && at[-1] != '.';
}

static bool among(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *p = choices; p && *p; p += strcspn(p, "|"), p += *p == '|') {
        if (strcspn(p, "|") == len && strncmp(p, text, len) == 0) {
            return true;
        }
    }
    return false;
}

static const char *choices_text(apr_pool_t *pool, const char *choices)
{
    char *text = apr_pstrdup(pool, choices);
    for (char *p = text; *p; p++) {
        *p = *p == '|' ? ' ' : *p;
    }
    return text;
}

static px_err *take_string(px_req *req, const px_field *field, const given *value, void *out)
{
    const char *text;
    size_t len;
    px_err *err;
    if (!text_of(value, &text, &len)) {
        return wrong(req, field, "it must be a string.");
    }
    if (strlen(text) != len) {
        return wrong(req, field, "it must not contain a NUL character.");
    }
    if (field->type == PX_F_EMAIL && !email_valid(text, len)) {
        return wrong(req, field, "it must be an email address.");
    }
    if (field->type == PX_F_UUID && !px_uuid_valid(text)) {
        return wrong(req, field, "it must be a UUID.");
    }
    if (field->type == PX_F_ENUM && !among(field->choices, text)) {
        return px_error_field(req->pool, field->name, "it must be one of: %s.",
                              choices_text(req->pool, field->choices));
    }
    if (field->type == PX_F_IMAGE && len == 0) {
        return wrong(req, field, "it must not be empty.");
    }
    if ((err = check_length(req, field, text, len)) != NULL) {
        return err;
    }
    *(const char **)out = text;
    return NULL;
}

static px_err *take_int(px_req *req, const px_field *field, const given *value, void *out)
{
    bool ranged = field->min != 0 || field->max != 0;
    long long number = 0;
    bool good;
    if (value->is_json) {
        good = value->json && json_object_get_type(value->json) == json_type_int;
        number = good ? json_object_get_int64(value->json) : 0;
    } else {
        good = px_parse_int(value->text, INT64_MIN, INT64_MAX, &number);
    }
    if (!good) {
        return wrong(req, field, "it must be a whole number.");
    }
    if (ranged && (number < field->min || number > field->max)) {
        return px_error_field(req->pool, field->name, "it must be from %lld to %lld.",
                              (long long)field->min, (long long)field->max);
    }
    *(int64_t *)out = number;
    return NULL;
}

static px_err *take_bool(px_req *req, const px_field *field, const given *value, void *out)
{
    if (value->is_json) {
        if (!value->json || json_object_get_type(value->json) != json_type_boolean) {
            return wrong(req, field, "it must be true or false.");
        }
        *(bool *)out = json_object_get_boolean(value->json);
        return NULL;
    }
    if (strcmp(value->text, "true") != 0 && strcmp(value->text, "false") != 0) {
        return wrong(req, field, "it must be true or false.");
    }
    *(bool *)out = value->text[0] == 't';
    return NULL;
}

static px_err *take_object(px_req *req, const px_field *field, const given *value, void *out)
{
    json_object *obj = value->json;
    if (!value->is_json) {
        px_err *err = px_json_parse(req->pool, value->text, value->len, NULL, &obj);
        if (err) {
            return wrong(req, field, "it must be a JSON object.");
        }
    }
    if (!obj || json_object_get_type(obj) != json_type_object) {
        return wrong(req, field, "it must be an object.");
    }
    *(json_object **)out = obj;
    return NULL;
}

static take_fn *taker_of(px_field_type type)
{
    switch (type) {
    case PX_F_INT: return take_int;
    case PX_F_BOOL: return take_bool;
    case PX_F_OBJECT: return take_object;
    default: return take_string;
    }
}

/* ---- a whole source ---- */

typedef struct {
    px_req *req;
    const px_field *fields;
    void *out;
    uint64_t seen;              /* a bit per field */
} run;

static px_err *unknown(px_req *req, const char *name)
{
    px_err *err;
    if (!px_utf8_valid(name, strlen(name)) || strlen(name) > 100) {
        name = "…";
    }
    err = px_error_field(req->pool, name, "it is not known here.");
    px_http_state(req)->verbatim = err;
    return err;
}

static px_err *accept_value(run *r, const given *value)
{
    int i = 0;
    for (const px_field *f = r->fields; f->name; f++, i++) {
        void *member = (char *)r->out + f->offset;
        if (strcmp(px_field_name(r->req, f->name), value->name) != 0) {
            continue;
        }
        if (r->seen & (1ULL << i)) {
            return wrong(r->req, f, "it is given twice.");
        }
        r->seen |= 1ULL << i;
        if (value->is_json && !value->json) {
            r->seen &= ~(1ULL << i);        /* null is the same as absent */
            return NULL;
        }
        if (value->is_file) {
            return f->type == PX_F_IMAGE ? NULL : wrong(r->req, f, "it must not be a file.");
        }
        return taker_of(f->type)(r->req, f, value, member);
    }
    return unknown(r->req, value->name);
}

static px_err *missing(const run *r)
{
    int i = 0;
    for (const px_field *f = r->fields; f->name; f++, i++) {
        if (f->required && !(r->seen & (1ULL << i))) {
            return wrong(r->req, f, "it is required.");
        }
    }
    return NULL;
}

static px_err *from_json(run *r)
{
    json_object_object_foreach(r->req->json, name, member) {
        given value = {name, member, NULL, 0, true, false};
        px_err *err = accept_value(r, &value);
        if (err) {
            return err;
        }
    }
    return missing(r);
}

static px_err *from_form(run *r)
{
    for (const px_part *part = r->req->form->parts; part; part = part->next) {
        given value = {part->name, NULL, part->value, part->len, false, part->file != NULL};
        px_err *err = NULL;
        if (!value.is_file && !px_utf8_valid(part->value, part->len)) {
            err = px_error_say(r->req->pool, PX_E_VALIDATION,
                               "A form field is not valid UTF-8 text.");
        }
        if (err || (err = accept_value(r, &value)) != NULL) {
            return err;
        }
    }
    return missing(r);
}

px_err *px_validate(px_req *req, const px_field *fields, void *out)
{
    run r = {req, fields, out, 0};
    if (req->form) {
        return from_form(&r);
    }
    if (!req->json) {
        return missing(&r);
    }
    if (json_object_get_type(req->json) != json_type_object) {
        return px_error_say(req->pool, PX_E_VALIDATION, "The body must be a JSON object.");
    }
    return from_json(&r);
}

/* Read by other functions of http/. */
static bool common_query_name(const char *name)
{
    return strcmp(name, "page") == 0 || strcmp(name, "limit") == 0 || strcmp(name, "wait") == 0 ||
           strcmp(name, "last_event_id") == 0;
}

px_err *px_validate_query(px_req *req, const px_field *fields, void *out)
{
    run r = {req, fields, out, 0};
    px_pair *pairs;
    px_err *err = px_query_parse(req, &pairs);
    for (; !err && pairs; pairs = pairs->next) {
        given value = {pairs->name, NULL, pairs->value, strlen(pairs->value), false, false};
        if (!common_query_name(pairs->name)) {
            err = accept_value(&r, &value);
        }
    }
    return err ? err : missing(&r);
}
