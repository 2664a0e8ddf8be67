/* Which passwords are accepted: long enough, not among those that everybody tries first. There
 * are no rules of composition (NIST SP 800-63B §5.1.1.2).
 *
 * Instead of a list of some thousand common passwords, the few words that they are made of:
 * lists of leaked passwords consist of these words with digits around them, with letters swapped
 * for look-alike digits, of walks over the keyboard, and of one short piece repeated. */
#include "account_internal.h"

#include "base/buf.h"

#include <apr_strings.h>
#include <string.h>

#define MAX_BYTES 1024
#define MAX_PIECE 4         /* longest piece whose repetition is refused */

static const char *const common_words[] = {
    "password", "passwort", "passw", "pass", "passwd", "motdepasse", "contrasena", "senha",
    "parola",
    "letmein", "welcome", "willkommen", "bienvenue", "admin", "administrator", "root", "login",
    "user", "guest", "default", "changeme", "secret", "test", "testing", "tester", "demo", "sample",
    "master", "superman", "batman", "spiderman", "ironman", "pokemon", "naruto", "starwars",
    "dragon", "monkey", "tiger", "lion", "eagle", "falcon", "butterfly", "dolphin", "kitten",
    "flower", "sunshine", "rainbow", "summer", "winter", "spring", "autumn", "monday", "friday",
    "january", "february", "march", "april", "june", "july", "august", "september", "october",
    "november", "december", "iloveyou", "ilove", "loveyou", "lovely", "love", "lover", "forever",
    "princess", "prince", "angel", "baby", "babygirl", "sweety", "honey", "chocolate", "cookie",
    "cheese", "banana", "orange", "cherry", "pepper", "ginger", "coffee", "computer", "internet",
    "samsung", "apple", "google", "facebook", "microsoft", "windows", "android", "iphone", "nokia",
    "football", "baseball", "basketball", "soccer", "hockey", "tennis", "golf", "liverpool",
    "chelsea", "arsenal", "barcelona", "realmadrid", "juventus", "michael", "jordan", "jennifer",
    "jessica", "michelle", "daniel", "charlie", "thomas", "andrew", "joshua", "matthew", "george",
    "robert", "ashley", "nicole", "hannah", "amanda", "maggie", "hunter", "ranger", "harley",
    "mustang", "ferrari", "porsche", "mercedes", "corvette", "yamaha", "killer", "shadow",
    "freedom", "whatever", "trustno", "access", "hello", "hallo", "goodbye", "london", "paris",
    "berlin", "america", "canada", "germany", "india", "money", "power", "lucky", "magic", "matrix",
    "blink", "ninja", "pirate", "wizard", "phoenix", "zxcvbn", "qwerty", "qwertz", "azerty",
    "qazwsx", "asdf", "asdfgh", "zaq", "abc", "abcd", "abcdef", "aaa", "xxx", "fuckyou", "fuck",
    "pixshift", "photo", "picture", "image", "mynoob", "buster", "jackass", "cowboy", "yankees",
    "dallas", "austin", "thunder", "silver", "golden", "diamond", "purple", "snoopy", "scooter",
    "merlin", "mickey", "donald", "trump", "jesus", "christ", "blessed", "family", "mother",
    "father", "sister", "brother", "friend", "friends", "school", "student", "teacher", "music",
    "guitar", "metallica", "nirvana", "eminem", "slipknot", "server", "system", "oracle", "mysql",
    "postgres", "database", "temp", "temporary", "qweasd", "unknown", "nothing", "none", "null",
};

static const char *const walks[] = {
    "01234567890123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn", "mnbvcxzlkjhgfdsapoiuytrewq", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujmikolp", "zaq12wsxcde34rfv",
    "q1w2e3r4t5y6u7i8o9p0",
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool letter(char c)
{
    return c >= 'a' && c <= 'z';
}

/* The letter that a look-alike stands for, or the character itself. */
static char plain(char c)
{
    static const char from[] = "0134578@$!+";
    static const char to[] = "oleastbasit";
    const char *at = c ? strchr(from, c) : NULL;

    return at ? to[at - from] : c;
}

static bool is_word(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof common_words / sizeof *common_words; i++) {
        if (strlen(common_words[i]) == len && strncmp(common_words[i], text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The text without what is no letter at its ends. */
static const char *core_of(const char *text, size_t *len)
{
    size_t n = strlen(text);

    while (n > 0 && !letter(text[n - 1])) {
        n--;
    }
    while (n > 0 && !letter(*text)) {
        text++;
        n--;
    }
    *len = n;
    return text;
}

/* "p4ssw0rd", "Monkey2024!", "123dragon", "passwordpassword": a common word with trimmings. */
static bool common(apr_pool_t *pool, const char *lowered)
{
    char *spelled = apr_pstrdup(pool, lowered);
    size_t len;
    const char *core = core_of(lowered, &len);

    if (is_word(core, len) || (len % 2 == 0 && is_word(core, len / 2)
                               && strncmp(core, core + len / 2, len / 2) == 0)) {
        return true;
    }
    core = core_of(lowered, &len);
    spelled = apr_pstrdup(pool, lowered);
    /* Digits at the end stay digits: "dragon1" is dragon and a 1, not "dragonl". */
    for (char *p = spelled, *end = spelled + (core - lowered) + len; p < end; p++) {
        *p = plain(*p);
    }
    core = core_of(spelled, &len);
    return is_word(core, len);
}

/* Consists of one piece of at most MAX_PIECE bytes again and again. */
static bool repeats(const char *text)
{
    size_t len = strlen(text);

    for (size_t piece = 1; piece <= MAX_PIECE && piece * 2 <= len; piece++) {
        size_t i = piece;
        while (i < len && text[i] == text[i - piece]) {
            i++;
        }
        if (i == len) {
            return true;
        }
    }
    return false;
}

static bool walk(const char *text)
{
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        if (strstr(walks[i], text)) {
            return true;
        }
    }
    return false;
}

static bool of_address(apr_pool_t *pool, const char *lowered, const char *email)
{
    const char *address, *at;

    if (!email) {
        return false;
    }
    address = account_email_key(pool, email);
    at = strchr(address, '@');
    return strcmp(lowered, address) == 0
           || (at && strlen(lowered) == (size_t)(at - address)
               && strncmp(lowered, address, (size_t)(at - address)) == 0);
}

const char *px_password_fault(apr_pool_t *pool, const char *password, const char *email,
                              int64_t min_length)
{
    size_t len = strlen(password);
    char *lowered = apr_pstrdup(pool, password);

    for (char *p = lowered; *p; p++) {
        *p = lower(*p);
    }
    if (len > MAX_BYTES) {
        return "it is longer than 1024 bytes.";
    }
    if ((int64_t)px_utf8_length(password, len) < min_length) {
        return apr_psprintf(pool, "it must have at least %d characters.", (int)min_length);
    }
    if (of_address(pool, lowered, email)) {
        return "it must not be your email address.";
    }
    if (common(pool, lowered) || repeats(lowered) || walk(lowered)) {
        return "it is among the passwords that are tried first. Choose another one.";
    }
    return NULL;
}
