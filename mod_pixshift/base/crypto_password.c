/* Password hashes over crypt(3), and the gate that keeps them from eating every processor. */
#include "crypto.h"

#include "id.h"
#include "log.h"
#include <apr_strings.h>
#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 2
#define QUEUE 20
#define WAIT_SECONDS 10
#define PASSWORD_MAX 1024

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_free = PTHREAD_COND_INITIALIZER;
static int gate_busy;
static int gate_waiting;

static px_err *busy(apr_pool_t *pool)
{
    px_err *err = px_error(pool, PX_E_UNAVAILABLE, "PXS1020",
                           "too many passwords are being hashed at once");
    err->retry_after = 2;
    return err;
}

static px_err *gate_enter(apr_pool_t *pool)
{
    struct timespec until;
    bool entered;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&gate_lock);
    if (gate_busy >= SLOTS && gate_waiting >= QUEUE) {
        pthread_mutex_unlock(&gate_lock);
        return busy(pool);
    }
    gate_waiting++;
    while (gate_busy >= SLOTS) {
        if (pthread_cond_timedwait(&gate_free, &gate_lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    gate_waiting--;
    entered = gate_busy < SLOTS;
    gate_busy += entered;
    pthread_mutex_unlock(&gate_lock);
    return entered ? NULL : busy(pool);
}

static void gate_leave(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_busy--;
    pthread_cond_signal(&gate_free);
    pthread_mutex_unlock(&gate_lock);
}

/* What crypt(3) sees: 44 characters whatever the password holds. */
static const char *prehash(apr_pool_t *pool, const char *pepper, const char *password)
{
    unsigned char mac[PX_SHA256_LEN];
    px_hmac_sha256(pepper, strlen(pepper), password, strlen(password), mac);
    return px_b64(pool, mac, sizeof(mac));
}

static const char *prefix_of(const char *scheme)
{
    if (strcmp(scheme, "bcrypt") == 0) {
        return "$2b$";
    }
    return strcmp(scheme, "yescrypt") == 0 ? "$y$" : NULL;
}

/* crypt(3) in the pool's memory; NULL when libxcrypt refuses the setting. */
static const char *run_crypt(apr_pool_t *pool, const char *phrase, const char *setting)
{
    void *data = NULL;
    int size = 0;
    const char *hash = crypt_ra(phrase, setting, &data, &size);
    const char *kept = hash && hash[0] != '*' ? apr_pstrdup(pool, hash) : NULL;
    if (data) {
        OPENSSL_cleanse(data, (size_t)size);    /* its scratch space saw the phrase */
        free(data);
    }
    return kept;
}

static const char *make_setting(apr_pool_t *pool, const char *prefix, int cost)
{
    char *made = crypt_gensalt_ra(prefix, (unsigned long)cost, NULL, 0);
    const char *kept = made ? apr_pstrdup(pool, made) : NULL;
    free(made);
    return kept;
}

px_err *px_password_hash(apr_pool_t *pool, const char *pepper, const char *password,
                         const char *scheme, int cost, const char **hash)
{
    const char *prefix = prefix_of(scheme);
    const char *setting = prefix ? make_setting(pool, prefix, cost) : NULL;
    px_err *err;
    *hash = NULL;
    if (strlen(password) > PASSWORD_MAX) {
        return px_error_field(pool, "password", "It is longer than %d bytes.", PASSWORD_MAX);
    }
    if (!setting) {
        return px_error(pool, PX_E_INTERNAL, "PXS1021", "crypt refuses scheme %s with cost %d",
                        scheme, cost);
    }
    err = gate_enter(pool);
    if (err) {
        return err;
    }
    *hash = run_crypt(pool, prehash(pool, pepper, password), setting);
    gate_leave();
    return *hash ? NULL : px_error(pool, PX_E_INTERNAL, "PXS1023", "crypt failed: errno %d", errno);
}

/* The cost written in a hash of `scheme`, -1 when it is of another scheme. */
static int cost_of(const char *hash, const char *scheme)
{
    const char *prefix = prefix_of(scheme);
    if (!prefix || strncmp(hash, prefix, strlen(prefix)) != 0) {
        return -1;
    }
    if (strcmp(scheme, "bcrypt") == 0) {
        return strlen(hash) > 6 ? (hash[4] - '0') * 10 + (hash[5] - '0') : -1;
    }
    return 0;
}

/* yescrypt writes its cost as a packed parameter: equal settings are compared by a fresh one. */
static bool weaker(apr_pool_t *pool, const char *hash, const char *scheme, int cost)
{
    const char *now;
    const char *end;
    int have = cost_of(hash, scheme);
    if (have < 0) {
        return true;
    }
    if (strcmp(scheme, "bcrypt") == 0) {
        return have < cost;
    }
    now = make_setting(pool, "$y$", cost);
    end = now ? strchr(now + 3, '$') : NULL;
    return end && strncmp(hash, now, (size_t)(end - now) + 1) != 0;
}

/* Work for an account that does not exist or whose stored hash crypt(3) cannot read: it must cost
 * the same and never match. */
static const char *dummy_setting(apr_pool_t *pool, const char *scheme, int cost)
{
    const char *prefix = prefix_of(scheme);
    return prefix ? make_setting(pool, prefix, cost) : NULL;
}

px_err *px_password_verify(apr_pool_t *pool, const char *pepper, const char *password,
                           const char *hash, const char *scheme, int cost, bool *match,
                           bool *rehash)
{
    const char *fallback = dummy_setting(pool, scheme, cost);
    const char *phrase = prehash(pool, pepper, password);
    const char *made = NULL;
    px_err *err;
    *match = *rehash = false;
    if (!fallback) {
        return px_error(pool, PX_E_INTERNAL, "PXS1024", "crypt refuses scheme %s with cost %d",
                        scheme, cost);
    }
    err = gate_enter(pool);
    if (err) {
        return err;
    }
    if (hash) {
        made = run_crypt(pool, phrase, hash);
    }
    if (!made) {
        run_crypt(pool, phrase, fallback);
    }
    gate_leave();
    if (hash && !made) {
        px_log(PX_LOG_WARN, "PXS1022", "a stored password hash cannot be read by crypt");
    }
    *match = made && strlen(password) <= PASSWORD_MAX
        && px_equal_ct(made, strlen(made), hash, strlen(hash));
    *rehash = *match && weaker(pool, hash, scheme, cost);
    return NULL;
}
