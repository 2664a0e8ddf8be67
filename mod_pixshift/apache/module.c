/* mod_pixshift: the hooks. */
#include "host.h"
#include "hub.h"

#include <http_connection.h>
#include <mpm_common.h>

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_pre_config(px_directives_reset, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(px_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(px_test_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(px_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(px_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(px_hub_stopping, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_suspend_connection(px_hub_suspended, NULL, NULL, APR_HOOK_MIDDLE);
    /* First of all: nobody further down may believe a client's identity headers. */
    ap_hook_post_read_request(px_strip_headers, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(px_translate, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_map_to_storage(px_map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(px_handle, NULL, NULL, APR_HOOK_MIDDLE);
    px_authz_register(pool);
    px_status_register();
}

extern __attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA pixshift_module;
AP_DECLARE_MODULE(pixshift) = {
    STANDARD20_MODULE_STUFF,
    NULL,
    NULL,
    px_server_conf_make,
    px_server_conf_merge,
    px_directives,
    register_hooks,
    0
};
