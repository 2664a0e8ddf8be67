/* studio/: what an image reference is by its form, and jobs in the words of the dialects. */
#include "unit_http.h"

#include "studio/job.h"
#include "studio/resolve.h"
#include "studio/studio.h"

#define BASE "https://px.example"
#define UUID "0199f0c2-7a3e-7abc-8def-0123456789ab"

static px_ref_kind kind(const char *value)
{
    const char *rest;
    return px_ref_classify(BASE, value, &rest);
}

START_TEST(own_addresses_are_known_by_their_prefix)
{
    const char *rest;
    ck_assert_int_eq(px_ref_classify(BASE, BASE "/api/files/uploads/u/i.jpg?expires=1", &rest),
                     PX_REF_OWN_URL);
    ck_assert_str_eq(rest, "uploads/u/i.jpg?expires=1");
    ck_assert_int_eq(px_ref_classify(BASE "/", "/api/files/k", &rest), PX_REF_OWN_URL);
    ck_assert_str_eq(rest, "k");
    ck_assert_int_eq(kind(BASE ".evil.example/api/files/k"), PX_REF_REMOTE);
    ck_assert_int_eq(kind("http://px.example/api/files/k"), PX_REF_REMOTE);
    ck_assert_int_eq(px_ref_classify(NULL, BASE "/api/files/k", &rest), PX_REF_REMOTE);
    /* Our own API is no source of images: the worker would fetch from ourselves. */
    ck_assert_int_eq(kind(BASE "/api/admin/stats"), PX_REF_BAD);
    ck_assert_int_eq(kind("/etc/passwd"), PX_REF_BAD);
}
END_TEST

START_TEST(ids_and_texts)
{
    const char *rest;
    char text[101];
    ck_assert_int_eq(kind(UUID), PX_REF_ID);
    ck_assert_int_eq(kind("0199f0c2"), PX_REF_BAD);
    ck_assert_int_eq(kind(""), PX_REF_BAD);
    ck_assert_int_eq(px_ref_classify(BASE, "data:image/png;base64,AAAA", &rest), PX_REF_DATA);
    ck_assert_str_eq(rest, "AAAA");
    ck_assert_int_eq(kind("DATA:image/png;BASE64,AAAA"), PX_REF_DATA);
    ck_assert_int_eq(kind("data:image/png,AAAA"), PX_REF_BAD);
    ck_assert_int_eq(kind("data:,"), PX_REF_BAD);
    memset(text, 'A', 100);
    text[100] = '\0';
    ck_assert_int_eq(kind(text), PX_REF_BASE64);
    text[0] = '/';              /* as that of every JPEG begins */
    ck_assert_int_eq(kind(text), PX_REF_BASE64);
    text[99] = '=';
    ck_assert_int_eq(kind(text), PX_REF_BASE64);
    text[50] = '=';
    ck_assert_int_eq(kind(text), PX_REF_BAD);
    text[50] = ' ';
    ck_assert_int_eq(kind(text), PX_REF_BAD);
    text[50] = 'A';
    text[40] = '\0';
    ck_assert_int_eq(kind(text), PX_REF_BAD);
}
END_TEST

/* A request of somebody; no database: what gets that far fails the test by crashing. */
static px_err *resolve(const char *value, px_job_input *out)
{
    static const char *const directives[] = {"PixShiftBaseURL", BASE, "PixShiftMaxUpload", "1024", NULL};
    static px_principal who = {.user_id = UUID};
    px_req *req = unit_req(unit_app(directives), "POST", "/api/transformations");
    px_image_ref ref = {.field = "image_url", .role = "image", .value = value, .retention = "ephemeral"};
    req->who = &who;
    return px_resolve_image(req, &ref, out);
}

START_TEST(remote_addresses_are_checked_early)
{
    px_job_input in;
    UNIT_OK(resolve("https://images.example/a.jpg", &in));
    ck_assert_str_eq(in.url, "https://images.example/a.jpg");
    ck_assert_str_eq(in.role, "image");
    ck_assert_ptr_null(in.image);
    UNIT_ERR(resolve("http://images.example/a.jpg", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("https://user:pass@images.example/a.jpg", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("https://images.example:22/a.jpg", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("file:///etc/passwd", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("gopher://images.example/", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve(apr_psprintf(unit_pool, "https://images.example/%02100d", 0), &in), PX_E_VALIDATION);
}
END_TEST

START_TEST(bad_references_name_the_field)
{
    px_job_input in;
    px_err *err = resolve("photo.jpg", &in);
    ck_assert_ptr_nonnull(err);
    ck_assert_str_eq(err->details->key, "field");
    ck_assert_str_eq(err->details->text, "image_url");
    UNIT_ERR(resolve(NULL, &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("data:image/png;base64,A", &in), PX_E_VALIDATION);
    UNIT_ERR(resolve("data:image/png;base64,", &in), PX_E_VALIDATION);
    /* The size is told before anything is decoded. */
    UNIT_ERR(resolve(apr_psprintf(unit_pool, "data:image/png;base64,%04000d", 0), &in), PX_E_FILE_TOO_LARGE);
}
END_TEST

START_TEST(states_in_both_dialects)
{
    static const struct { const char *state, *pix, *v1; } table[] = {
        {"queued", "PENDING", "queued"}, {"waiting_payment", "PENDING", "queued"},
        {"running", "PROCESSING", "processing"}, {"succeeded", "COMPLETED", "completed"},
        {"failed", "FAILED", "failed"}, {"canceled", "FAILED", "failed"}, {"expired", "FAILED", "failed"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ck_assert_str_eq(px_job_state_word(PX_DIALECT_PIXSHIFT, table[i].state), table[i].pix);
        ck_assert_str_eq(px_job_state_word(PX_DIALECT_TRAILROOM, table[i].state), table[i].v1);
    }
    ck_assert_str_eq(px_job_state_from_word(PX_DIALECT_PIXSHIFT, "COMPLETED"), "succeeded");
    ck_assert_str_eq(px_job_state_from_word(PX_DIALECT_TRAILROOM, "processing"), "running");
    ck_assert_str_eq(px_job_state_from_word(PX_DIALECT_TRAILROOM, "failed"), "failed");
    ck_assert_ptr_null(px_job_state_from_word(PX_DIALECT_TRAILROOM, "COMPLETED"));
    ck_assert_ptr_null(px_job_state_from_word(PX_DIALECT_PIXSHIFT, "completed"));
}
END_TEST

START_TEST(faults_are_told_in_safe_words)
{
    px_job job = {.state = "succeeded"};
    ck_assert_ptr_null(px_job_fault(&job));
    job.state = "canceled";
    ck_assert_ptr_nonnull(px_job_fault(&job));
    job.state = "failed";
    job.error_message = "The provider refused this content.";
    ck_assert_str_eq(px_job_fault(&job), "The provider refused this content.");
}
END_TEST

/* Each route once, with a sentence; API keys never reach what admins do, nor history and delete. */
START_TEST(routes_and_their_credentials)
{
    const px_route *const tables[] = {px_studio_routes, NULL};
    px_router *router;
    int keyed = 0;
    ck_assert_ptr_null(px_router_make(unit_pool, tables, &router));
    for (const px_route *r = px_studio_routes; r->method; r++) {
        bool key = (r->creds & PX_CRED_KEY) != 0;
        keyed += key;
        ck_assert_ptr_nonnull(r->handler);
        ck_assert_int_eq(r->summary[strlen(r->summary) - 1], '.');
        if (r->flags & PX_ROUTE_ADMIN)
            ck_assert_msg(!key && r->scope == PX_SCOPE_ACCOUNT, "%s", r->pattern);
        if (strstr(r->pattern, "/history") || strcmp(r->method, "DELETE") == 0)
            ck_assert_msg(!key, "%s", r->pattern);
    }
    ck_assert_int_gt(keyed, 10);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("studio");
    tcase_add_test(tc, own_addresses_are_known_by_their_prefix);
    tcase_add_test(tc, ids_and_texts);
    tcase_add_test(tc, remote_addresses_are_checked_early);
    tcase_add_test(tc, bad_references_name_the_field);
    tcase_add_test(tc, states_in_both_dialects);
    tcase_add_test(tc, faults_are_told_in_safe_words);
    tcase_add_test(tc, routes_and_their_credentials);
    return unit_run();
}
