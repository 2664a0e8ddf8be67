/* account/: what needs no database – the form of API keys, password rules, roles, cached records. */
#include "unit.h"

#include "account/account_internal.h"
#include "base/id.h"

START_TEST(keys_have_their_form)
{
    const char *live = account_key_make(unit_pool, false);
    const char *test = account_key_make(unit_pool, true);
    bool test_mode;

    ck_assert_int_eq(strlen(live), ACCOUNT_KEY_LEN);
    ck_assert(strncmp(live, "psk_live_", 9) == 0 && strncmp(test, "psk_test_", 9) == 0);
    ck_assert(account_key_well_formed(unit_pool, live, &test_mode) && !test_mode);
    ck_assert(account_key_well_formed(unit_pool, test, &test_mode) && test_mode);
    ck_assert_str_ne(live, account_key_make(unit_pool, false));
    /* C-39: the shown prefix tells keys apart. */
    ck_assert_int_eq(strlen(account_key_prefix(unit_pool, live)), 17);
    ck_assert(strncmp(account_key_prefix(unit_pool, live), live, 17) == 0);
}
END_TEST

/* Each single changed, swapped, missing or added character is seen without a database. */
START_TEST(changed_keys_are_refused)
{
    const char *key = account_key_make(unit_pool, false);
    int accepted = 0;
    bool test_mode;

    for (size_t i = 0; i < ACCOUNT_KEY_LEN; i++) {
        for (int c = 1; c < 256; c++) {
            char *other = apr_pstrdup(unit_pool, key);
            other[i] = (char)c;
            accepted += (char)c != key[i]
                        && account_key_well_formed(unit_pool, other, &test_mode);
        }
        if (i + 1 < ACCOUNT_KEY_LEN && key[i] != key[i + 1]) {
            char *other = apr_pstrdup(unit_pool, key);
            other[i] = key[i + 1];
            other[i + 1] = key[i];
            accepted += account_key_well_formed(unit_pool, other, &test_mode);
        }
    }
    ck_assert_int_eq(accepted, 0);
    ck_assert(!account_key_well_formed(unit_pool, "", &test_mode));
    ck_assert(!account_key_well_formed(unit_pool, apr_pstrcat(unit_pool, key, "0", NULL), &test_mode));
    ck_assert(!account_key_well_formed(unit_pool, apr_pstrmemdup(unit_pool, key, 44), &test_mode));
}
END_TEST

/* Guesses with a right form but random characters: one in 62^6 / 2^32 … passes the check sum. */
START_TEST(guessed_keys_die_before_the_database)
{
    apr_pool_t *pool;
    int passed = 0;
    bool test_mode;

    for (int round = 0; round < 100; round++) {
        apr_pool_create(&pool, unit_pool);
        for (int i = 0; i < 1000; i++) {
            const char *guess = apr_pstrcat(pool, "psk_live_", px_base62_random(pool, 36), NULL);
            passed += account_key_well_formed(pool, guess, &test_mode);
        }
        apr_pool_destroy(pool);
    }
    ck_assert_int_le(passed, 1);
}
END_TEST

START_TEST(scopes_travel_both_ways)
{
    unsigned all = PX_SCOPE_DEFAULT_KEY | PX_SCOPE_CHAT;

    ck_assert_str_eq(account_scopes_array(unit_pool, PX_SCOPE_DEFAULT_KEY),
                     "{jobs:write,jobs:read,credits:read}");
    ck_assert_uint_eq(account_scopes_parse("jobs:write,jobs:read,credits:read,chat"), all);
    ck_assert_uint_eq(account_scopes_parse("jobs:writer,jobs"), 0);
    ck_assert_uint_eq(account_scopes_parse(""), 0);
    ck_assert_uint_eq(account_scopes_parse(NULL), 0);
    /* No key ever has the account scope, whatever its row says. */
    ck_assert_uint_eq(account_scopes_parse("account"), 0);
}
END_TEST

static const char *fault(const char *password)
{
    return px_password_fault(unit_pool, password, "jo.doe@example.org", 8);
}

START_TEST(common_passwords_are_refused)
{
    static const char *const bad[] = {
        "password", "Password1", "p4ssw0rd", "P@ssw0rd!", "123password", "password2024!", "letmein123",
        "qwertyuiop", "1234567890", "0987654321", "abcdefgh", "asdfghjkl", "1qaz2wsx", "q1w2e3r4",
        "aaaaaaaaaa", "abababab", "123123123", "passwordpassword", "Monkey2024!", "iloveyou!!",
        "jo.doe@example.org", "JO.DOE@example.org", "welcome123", "admin2025", "Sunshine99", "short1",
        "pixshift1", "zxcvbn12", "football1",
    };
    static const char *const good[] = {
        "correct horse battery staple", "k7#mQ2vX", "dragonflies over water", "Zürich im Regen",
        "passwordless future", "monkeys eat bananas", "jo.doe.secret", "9f8a7b6c5d",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(fault(bad[i]) != NULL, "'%s' was accepted", bad[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(fault(good[i]) == NULL, "'%s': %s", good[i], fault(good[i]));
    }
}
END_TEST

START_TEST(length_is_in_characters)
{
    char *long_one = apr_palloc(unit_pool, 1100);

    ck_assert_ptr_nonnull(fault("äöü"));
    ck_assert_ptr_null(fault("äöüéèàçñ"));
    for (int i = 0; i < 1099; i++) {
        long_one[i] = "kwmtzfra"[i % 7 + (i / 7) % 2];
    }
    long_one[1025] = '\0';
    ck_assert_ptr_nonnull(fault(long_one));
    long_one[1024] = '\0';
    ck_assert_ptr_null(fault(long_one));
}
END_TEST

/* C-3: the three vocabularies. */
START_TEST(roles_are_understood)
{
    static const struct { const char *word; px_role role; const char *entitlement; } words[] = {
        {"ADMIN", PX_ROLE_ADMIN, NULL}, {"admin", PX_ROLE_ADMIN, NULL}, {"GUEST", PX_ROLE_USER, NULL},
        {"user", PX_ROLE_USER, NULL}, {"free", PX_ROLE_USER, "free"}, {"paid", PX_ROLE_USER, "paid"},
        {"subscriber", PX_ROLE_USER, "subscriber"},
    };
    px_role_wish wish;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ck_assert(px_role_parse(words[i].word, &wish));
        ck_assert_int_eq(wish.role, words[i].role);
        ck_assert(wish.sets_entitlement == (words[i].entitlement != NULL));
        ck_assert_pstr_eq(wish.entitlement, words[i].entitlement);
    }
    ck_assert(!px_role_parse("root", &wish));
    ck_assert(!px_role_parse("", &wish));
}
END_TEST

START_TEST(roles_are_projected)
{
    px_user admin = {.role = PX_ROLE_ADMIN, .entitlement = "paid"};
    px_user free_user = {.entitlement = "free"}, subscriber = {.entitlement = "subscriber"};

    ck_assert_str_eq(px_user_role_word(PX_DIALECT_PIXSHIFT, &admin), "ADMIN");
    ck_assert_str_eq(px_user_role_word(PX_DIALECT_PIXSHIFT, &subscriber), "GUEST");
    ck_assert_str_eq(px_user_role_word(PX_DIALECT_TRAILROOM, &admin), "admin");
    ck_assert_str_eq(px_user_role_word(PX_DIALECT_TRAILROOM, &free_user), "free");
    ck_assert_str_eq(px_user_role_word(PX_DIALECT_TRAILROOM, &subscriber), "paid");
}
END_TEST

START_TEST(records_survive_the_cache)
{
    account_record in = {
        .who = {.user_id = "0190a5f2-7c1e-7aaa-8bbb-0123456789ab", .email = "a@example.org",
                .role = PX_ROLE_ADMIN, .admin_scope = "support", .scopes = ~0u, .session_id = "s",
                .csrf = "c", .test_mode = true},
        .looked_up = INT64_MAX, .valid_until = -1, .started = 5, .last_used = 6,
    };
    size_t len;
    const char *text = account_record_pack(unit_pool, &in, &len);
    account_record *out = account_record_unpack(unit_pool, text, len);

    ck_assert_ptr_nonnull(out);
    ck_assert_str_eq(out->who.user_id, in.who.user_id);
    ck_assert_str_eq(out->who.email, in.who.email);
    ck_assert_int_eq(out->who.role, PX_ROLE_ADMIN);
    ck_assert_str_eq(out->who.admin_scope, "support");
    ck_assert_uint_eq(out->who.scopes, ~0u);
    ck_assert_str_eq(out->who.csrf, "c");
    ck_assert(out->who.test_mode);
    ck_assert_ptr_null(out->who.key_id);
    ck_assert_ptr_null(out->who.tier);
    ck_assert(out->looked_up == INT64_MAX && out->valid_until == -1);
    ck_assert(out->started == 5 && out->last_used == 6);
    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_ptr_null(account_record_unpack(unit_pool, text, cut));
    }
    ck_assert_ptr_null(account_record_unpack(unit_pool, "2\x1fx", 3));
}
END_TEST

START_TEST(addresses_are_compared_without_case)
{
    ck_assert_str_eq(account_email_key(unit_pool, " Jo.Doe@Example.ORG "), "jo.doe@example.org");
    ck_assert_str_eq(account_email_key(unit_pool, "ÄB@x.org"), "Äb@x.org");
}
END_TEST

START_TEST(fingerprints_tell_clients_apart)
{
    unsigned char a[PX_SHA256_LEN], b[PX_SHA256_LEN];

    account_fingerprint("curl/8", "192.0.2.1", a);
    account_fingerprint("curl/8", "192.0.2.1", b);
    ck_assert_mem_eq(a, b, sizeof a);
    account_fingerprint("curl/8192.0.2.1", "", b);
    ck_assert_mem_ne(a, b, sizeof a);
    account_fingerprint(NULL, "192.0.2.1", b);
    ck_assert_mem_ne(a, b, sizeof a);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("account");

    tcase_add_test(tc, keys_have_their_form);
    tcase_add_test(tc, changed_keys_are_refused);
    tcase_add_test(tc, guessed_keys_die_before_the_database);
    tcase_add_test(tc, scopes_travel_both_ways);
    tcase_add_test(tc, common_passwords_are_refused);
    tcase_add_test(tc, length_is_in_characters);
    tcase_add_test(tc, roles_are_understood);
    tcase_add_test(tc, roles_are_projected);
    tcase_add_test(tc, records_survive_the_cache);
    tcase_add_test(tc, addresses_are_compared_without_case);
    tcase_add_test(tc, fingerprints_tell_clients_apart);
    return unit_run();
}
