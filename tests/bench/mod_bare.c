/* Benchmark only: handler "bare" answers JSON of a fixed size through SetHandler, doing nothing
 * else. It is what a hand-written module of the same httpd costs; bench_handler.py compares the
 * API with it. "/bare?300" answers 300 bytes. Never installed. */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_DEFAULT 200
#define BYTES_MAX 65536

static int handle(request_rec *r)
{
    static const char head[] = "{\"filler\":\"";
    static const char tail[] = "\"}";
    apr_int64_t wanted = r->args ? apr_atoi64(r->args) : BYTES_DEFAULT;
    char *text;
    size_t size;
    if (!r->handler || strcmp(r->handler, "bare") != 0) {
        return DECLINED;
    }
    size = wanted < 16 || wanted > BYTES_MAX ? BYTES_DEFAULT : (size_t)wanted;
    text = apr_palloc(r->pool, size);
    memset(text, 'x', size);
    memcpy(text, head, sizeof(head) - 1);
    memcpy(text + size - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
    ap_set_content_type(r, "application/json");
    ap_set_content_length(r, (apr_off_t)size);
    ap_rwrite(text, (int)size, r);
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

extern __attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA bare_module;
AP_DECLARE_MODULE(bare) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0
};
