/* Fail-points: places where crash tests make the process die, fail or wait. */
#include "failpoint.h"

#ifdef PX_FAILPOINTS

#include "buf.h"
#include "log.h"
#include <apr_time.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define POINTS_MAX 32
#define NAME_MAX_LEN 64

typedef enum { ACT_KILL, ACT_ERROR, ACT_DELAY } action;

typedef struct {
    char name[NAME_MAX_LEN];
    long long nth;
    action act;
    long long delay_ms;
    long long reached;      /* in this process; used without shared counters */
} point;

static point points[POINTS_MAX];
static int point_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* One "name:nth:action" with `text` cut to it. */
static bool parse_point(char *text, point *p)
{
    char *nth = strchr(text, ':');
    char *act = nth ? strchr(nth + 1, ':') : NULL;
    if (!act) {
        return false;
    }
    *nth++ = '\0';
    *act++ = '\0';
    if (!*text || strchr(text, '/') || strlen(text) >= sizeof(p->name)
        || !px_parse_int(nth, 1, 1000000000, &p->nth)) {
        return false;
    }
    snprintf(p->name, sizeof(p->name), "%s", text);
    if (strcmp(act, "kill") == 0) {
        p->act = ACT_KILL;
    } else if (strcmp(act, "error") == 0) {
        p->act = ACT_ERROR;
    } else if (strncmp(act, "delay:", 6) == 0) {
        p->act = ACT_DELAY;
        return px_parse_int(act + 6, 0, 3600000, &p->delay_ms);
    } else {
        return false;
    }
    return true;
}

static void parse_all(void)
{
    const char *env = getenv("PIXSHIFT_FAILPOINT");
    while (env && *env && point_count < POINTS_MAX) {
        char text[NAME_MAX_LEN + 64];
        size_t len = strcspn(env, ",");
        if (len < sizeof(text)) {
            memcpy(text, env, len);
            text[len] = '\0';
        }
        if (len < sizeof(text) && parse_point(text, &points[point_count])) {
            point_count++;
        } else {
            px_log(PX_LOG_ERROR, "PXS1010", "fail-point \"%.*s\" is not name:nth:action",
                   (int)(len < 100 ? len : 100), env);
        }
        env += len + (env[len] == ',');
    }
}

/* The next number of a counter that all processes share: a file with one byte per visit, so that
 * appending under a lock is the increment and a crash cannot tear it. */
static long long count_shared(const char *dir, const char *name)
{
    char path[512];
    struct stat st;
    long long count = 0;
    int fd;
    snprintf(path, sizeof(path), "%s/%s.count", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        return 0;
    }
    if (flock(fd, LOCK_EX) == 0 && write(fd, "x", 1) == 1 && fstat(fd, &st) == 0) {
        count = (long long)st.st_size;
    }
    close(fd);
    return count;
}

static bool perform(const point *p)
{
    px_log(PX_LOG_WARN, "PXS1011", "fail-point %s acts at visit %lld", p->name, p->nth);
    switch (p->act) {
    case ACT_KILL:
        kill(getpid(), SIGKILL);
        pause();
        return true;
    case ACT_ERROR:
        return true;
    default:
        apr_sleep((apr_interval_time_t)p->delay_ms * 1000);
        return false;
    }
}

bool px_failpoint(const char *name)
{
    const char *dir = getenv("PIXSHIFT_FAILPOINT_DIR");
    long long shared = 0;
    bool fail = false;
    pthread_once(&once, parse_all);
    for (int i = 0; i < point_count; i++) {
        point *p = &points[i];
        long long count;
        if (strcmp(p->name, name) != 0) {
            continue;
        }
        if (dir && *dir) {
            /* One visit counts once, also when two actions wait for different visits. */
            shared = shared ? shared : count_shared(dir, name);
            count = shared;
        } else {
            pthread_mutex_lock(&lock);
            count = ++p->reached;
            pthread_mutex_unlock(&lock);
        }
        if (count == p->nth) {
            fail = perform(p) || fail;
        }
    }
    return fail;
}

bool px_failpoints_active(void)
{
    pthread_once(&once, parse_all);
    return point_count > 0;
}

#else

/* ISO C wants a declaration in every file. */
typedef int px_failpoints_not_compiled;

#endif
