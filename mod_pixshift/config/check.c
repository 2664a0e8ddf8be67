/* px_settings_finish: defaults, what is required, what production mode refuses, and settings that
 * contradict each other. */
#include "settings_internal.h"
#include "base/clock.h"
#include "base/failpoint.h"

#include <apr_network_io.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PRODUCTION_COST_MIN 10

/* "file:line: sentence"; without a place just the sentence. */
static void fault_at(px_buf *faults, const char *file, int line, const char *sentence)
{
    if (file) {
        px_buf_printf(faults, "%s:%d: %s\n", file, line, sentence);
    } else {
        px_buf_printf(faults, "%s\n", sentence);
    }
}

static void fault(px_buf *faults, const px_settings *s, px_setting_id id, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void fault(px_buf *faults, const px_settings *s, px_setting_id id, const char *fmt, ...)
{
    va_list ap;
    const char *text;
    va_start(ap, fmt);
    text = apr_pvsprintf(s->pool, fmt, ap);
    va_end(ap);
    fault_at(faults, s->value[id].conf_file, s->value[id].conf_line,
             apr_pstrcat(s->pool, px_setting_rows()[id].directive, text, NULL));
}

/* Built-in places that configure decided. */
static const char *built_in(px_setting_id id)
{
    switch (id) {
    case PX_S_PLUGIN_DIR:
        return PX_PLUGINDIR;
    case PX_S_WORKER_PROGRAM:
        return PX_LIBEXECDIR "/pixshift-worker";
    case PX_S_HELPER_PROGRAM:
        return PX_LIBEXECDIR "/pixshift-helper";
    default:
        return NULL;
    }
}

void px_settings_defaults(px_settings *s)
{
    const px_setting_row *rows = px_setting_rows();
    if (s->complete) {
        return;
    }
    s->complete = true;
    for (int i = 0; i < PX_S_COUNT; i++) {
        const char *text = rows[i].fallback ? rows[i].fallback : built_in((px_setting_id)i);
        if (!s->value[i].text && text) {
            px_settings_set_text(s, (px_setting_id)i, text);
        }
    }
    px_lists_defaults(s);
}

static void check_required(const px_settings *s, px_buf *faults)
{
    static const px_setting_id required[] = {PX_S_DATABASE, PX_S_SECRET, PX_S_BASE_URL,
                                             PX_S_STORAGE};
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (!s->value[required[i]].text) {
            px_setting place = s->value[PX_S_ENGINE];
            fault_at(faults, place.conf_file, place.conf_line,
                     apr_pstrcat(s->pool, px_setting_rows()[required[i]].directive,
                                 " is required when PixShift is On", NULL));
        }
    }
}

static void check_production(const px_settings *s, px_buf *faults)
{
    const px_setting_row *rows = px_setting_rows();
    if (px_clock_is_test() || getenv("PIXSHIFT_TEST_CLOCK")) {
        fault(faults, s, PX_S_MODE, " production: the test clock (PIXSHIFT_TEST_CLOCK) is set");
    }
    if (px_failpoints_active() || getenv("PIXSHIFT_FAILPOINT")) {
        fault(faults, s, PX_S_MODE, " production: fail-points (PIXSHIFT_FAILPOINT) are set");
    }
    if (s->value[PX_S_EGRESS_ALLOW].text) {
        fault(faults, s, PX_S_EGRESS_ALLOW, " is for tests and refused in production mode");
    }
    if (s->value[PX_S_PASSWORD_COST].number < PRODUCTION_COST_MIN) {
        fault(faults, s, PX_S_PASSWORD_COST, " below %d is refused in production mode",
              PRODUCTION_COST_MIN);
    }
    for (int i = 0; i < PX_S_COUNT; i++) {
        const char *wrong;
        if (rows[i].type == PX_SET_SECRET && s->value[i].text && !s->value[i].secret
            && (wrong = px_secret_check(s->pool, s->value[i].text, true)) != NULL) {
            fault(faults, s, (px_setting_id)i, ": %s", wrong);
        }
    }
}

static void check_order(const px_settings *s, px_buf *faults, px_setting_id low, px_setting_id high,
                        bool equal_allowed)
{
    int64_t a = s->value[low].number;
    int64_t b = s->value[high].number;
    if (a > b || (a == b && !equal_allowed)) {
        px_setting_id where = s->value[low].conf_file ? low : high;
        fault_at(faults, s->value[where].conf_file, s->value[where].conf_line,
                 apr_psprintf(s->pool, "%s (%s) must be %s %s (%s)",
                              px_setting_rows()[low].directive, s->value[low].text,
                              equal_allowed ? "at most" : "less than",
                              px_setting_rows()[high].directive, s->value[high].text));
    }
}

/* Connection strings end up in logs, process titles and exports: a password has no place there. */
static void check_database(const px_settings *s, px_buf *faults)
{
    static const char password_fault[] = " must not hold a password: use PixShiftDatabasePassword";
    const char *text = s->value[PX_S_DATABASE].text;
    const char *at;
    const char *colon;
    if (!text) {
        return;
    }
    if (strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0) {
        const char *host = strstr(text, "//") + 2;
        at = memchr(host, '@', strcspn(host, "/?"));
        colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
        if (colon || strstr(text, "password=")) {
            fault(faults, s, PX_S_DATABASE, password_fault);
        }
    } else if (strcasestr(text, "password")) {
        fault(faults, s, PX_S_DATABASE, password_fault);
    }
}

static void check_cidrs(const px_settings *s, px_buf *faults)
{
    char *state = NULL;
    if (!s->value[PX_S_EGRESS_ALLOW].text) {
        return;
    }
    for (char *word = apr_strtok(apr_pstrdup(s->pool, s->value[PX_S_EGRESS_ALLOW].text), " ,",
                                 &state);
         word; word = apr_strtok(NULL, " ,", &state)) {
        apr_ipsubnet_t *net;
        char *slash = strchr(word, '/');
        const char *address = apr_pstrmemdup(s->pool, word,
                                             slash ? (size_t)(slash - word) : strlen(word));
        if (apr_ipsubnet_create(&net, address, slash ? slash + 1 : NULL, s->pool) != APR_SUCCESS) {
            fault(faults, s, PX_S_EGRESS_ALLOW, ": '%s' is not an address range", word);
        }
    }
}

static void check_origins(const px_settings *s, px_buf *faults)
{
    char *state = NULL;
    if (!s->value[PX_S_CORS_ORIGINS].text) {
        return;
    }
    for (char *word = apr_strtok(apr_pstrdup(s->pool, s->value[PX_S_CORS_ORIGINS].text), " ",
                                 &state);
         word; word = apr_strtok(NULL, " ", &state)) {
        const char *host = strstr(word, "://");
        bool web = strncmp(word, "https://", 8) == 0 || strncmp(word, "http://", 7) == 0;
        if (!web || !host[3] || strpbrk(host + 3, "/?#@*")) {
            fault(faults, s, PX_S_CORS_ORIGINS,
                  ": '%s' is not an origin such as https://app.example.com", word);
        }
    }
}

static void check_sections(const px_settings *s, px_buf *faults)
{
    for (const px_plugin_section *a = s->plugins; a; a = a->next) {
        for (const px_plugin_section *b = s->plugins; b != a; b = b->next) {
            if (strcmp(a->name, b->name) == 0) {
                fault_at(faults, a->conf_file, a->conf_line,
                         apr_psprintf(s->pool, "the plugin section '%s' is given twice", a->name));
            }
        }
    }
}

bool px_settings_finish(px_settings *s, px_buf *faults)
{
    size_t before = faults->len;
    px_settings_defaults(s);
    if (px_set_on(s, PX_S_ENGINE)) {
        check_required(s, faults);
    }
    if (px_settings_production(s)) {
        check_production(s, faults);
    }
    check_order(s, faults, PX_S_JOB_HEARTBEAT, PX_S_JOB_LEASE, false);
    check_order(s, faults, PX_S_MIN_SIDE, PX_S_MAX_SIDE, true);
    check_order(s, faults, PX_S_REFRESH_TTL, PX_S_REFRESH_MAX, true);
    check_order(s, faults, PX_S_SESSION_IDLE, PX_S_SESSION_MAX, true);
    check_database(s, faults);
    check_cidrs(s, faults);
    check_origins(s, faults);
    check_sections(s, faults);
    return faults->len == before;
}
