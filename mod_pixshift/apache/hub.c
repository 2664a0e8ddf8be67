/* The I/O thread's loop: epoll over the wake-up, the LISTEN connection and all suspended
 * clients. */
#include "hub.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/cache.h"
#include "db/db.h"
#include "hub_conn.h"
#include "net/net.h"
#include "stream.h"

#include <apr_atomic.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <http_connection.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS 256
/* How exactly deadlines and heartbeats are met while there are streams. */
#define TICK_MS 100
#define IDLE_MS 1000
/* Longest time that a stopping child waits for its streams to end. */
#define STOP_USEC 10000000

typedef struct {
    apr_pool_t *pool;
    px_host *host;
    px_app *app;                        /* with connections of its own */
    px_net *net;                        /* this thread's */
    px_topics *topics;
    px_listener *listener;
    apr_thread_t *thread;
    apr_thread_mutex_t *lock;           /* guards `arrivals` */
    px_stream *arrivals;
    px_stream *streams;                 /* only the thread */
    apr_uint32_t slots, blocking;       /* reserved, atomically */
    apr_uint32_t closing;               /* atomically: 1 = graceful, 2 = at once */
    int epoll, wake;
    int64_t scan_at, listen_at;
} px_hub;

static px_hub *hub;

/* ---- slots ----------------------------------------------------------------------------------- */

static bool reserve(apr_uint32_t *count, int64_t most)
{
    if (apr_atomic_inc32(count) < (apr_uint32_t)most) {
        px_count(hub->host->app->cache, PX_C_STREAMS_OPEN, 1);
        return true;
    }
    apr_atomic_dec32(count);
    return false;
}

static void release(apr_uint32_t *count)
{
    px_count(hub->app->cache, PX_C_STREAMS_OPEN, -1);
    apr_atomic_dec32(count);
}

bool px_hub_reserve(void)
{
    if (!hub || !reserve(&hub->slots, px_set_int(hub->host->settings, PX_S_STREAMS_MAX))) {
        return false;
    }
    /* Looked at behind the reservation: the stopping thread waits for reserved slots. */
    if (px_hub_closing()) {
        px_hub_release();
        return false;
    }
    return true;
}

void px_hub_release(void)
{
    release(&hub->slots);
}

bool px_hub_reserve_blocking(void)
{
    return hub && !px_hub_closing()
           && reserve(&hub->blocking, px_set_int(hub->host->settings, PX_S_BLOCKING_WAITS));
}

void px_hub_release_blocking(void)
{
    release(&hub->blocking);
}

bool px_hub_closing(void)
{
    return hub && apr_atomic_read32(&hub->closing) != 0;
}

int px_hub_open_streams(void)
{
    return hub ? (int)(apr_atomic_read32(&hub->slots) + apr_atomic_read32(&hub->blocking)) : 0;
}

px_topics *px_hub_topics(void)
{
    return hub->topics;
}

static void wake_up(void)
{
    uint64_t one = 1;
    ssize_t written = write(hub->wake, &one, sizeof(one));
    (void)written;      /* a full counter is a pending wake-up */
}

/* ---- streams --------------------------------------------------------------------------------- */

static void step(px_stream *stream, bool beat)
{
    if (stream->phase != PX_STREAM_RUNNING) {
        return;
    }
    px_log_request(stream->r);
    if (stream->reply->mode == PX_REPLY_STREAM) {
        px_conn_events(stream, beat);
    } else if (!px_stream_still_waiting(stream->req, stream->reply, &stream->overdue)) {
        px_conn_reply(stream);
    } else {
        stream->deadline = stream->reply->deadline;
    }
    px_log_request(NULL);
}

static void adopt(px_stream *stream)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = stream};
    apr_os_sock_t fd = -1;
    px_conn_adopt(stream);
    apr_os_sock_get(&fd, ap_get_conn_socket(stream->c));
    stream->fd = fd;
    stream->prev = NULL;
    stream->next = hub->streams;
    if (hub->streams) {
        hub->streams->prev = stream;
    }
    hub->streams = stream;
    stream->req->app = hub->app;
    stream->req->net = hub->net;
    if (epoll_ctl(hub->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        px_log(PX_LOG_ERROR, "PXS5130", "epoll refused a client: %s", strerror(errno));
        px_conn_abort(stream);
        return;
    }
    if (stream->phase == PX_STREAM_RUNNING) {
        px_topics_attach(hub->topics, &stream->waiter);
    }
}

static void take_arrivals(void)
{
    px_stream *list;
    apr_thread_mutex_lock(hub->lock);
    list = hub->arrivals;
    hub->arrivals = NULL;
    apr_thread_mutex_unlock(hub->lock);
    while (list) {
        px_stream *stream = list;
        list = list->next;
        adopt(stream);
    }
}

static void bury(px_stream *stream)
{
    px_stream *next = stream->next;
    px_stream *prev = stream->prev;
    int fd = stream->fd;
    /* The descriptor is closed with the pool, which also takes it out of the epoll set. */
    if (fd < 0 || !px_conn_bury(stream, apr_atomic_read32(&hub->closing) == 2)) {
        return;
    }
    if (next) {
        next->prev = prev;
    }
    if (prev) {
        prev->next = next;
    } else {
        hub->streams = next;
    }
}

/* Everything that time brings. `next` is read first: burying frees the stream. */
static void scan(void)
{
    int64_t now = px_now();
    int64_t clock = px_monotonic();
    px_stream *next;
    for (px_stream *stream = hub->streams; stream; stream = next) {
        next = stream->next;
        if (stream->phase == PX_STREAM_LINGERING) {
            bury(stream);
        } else if (stream->phase == PX_STREAM_SENDING || stream->out) {
            if (clock >= stream->close_at) {
                px_conn_abort(stream);
            }
        } else if (stream->deadline > 0 && now >= stream->deadline) {
            stream->deadline = stream->reply->mode == PX_REPLY_WAIT ? stream->deadline : 0;
            step(stream, false);
        } else if (clock >= stream->beat_at && stream->reply->mode == PX_REPLY_STREAM) {
            step(stream, true);
        }
    }
}

static void on_client(px_stream *stream, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        stream->gone = true;
        px_conn_abort(stream);
    } else if (!(events & EPOLLOUT)) {
        return;
    } else if (stream->phase == PX_STREAM_SENDING) {
        px_conn_push(stream);
    } else if (stream->out) {
        px_conn_events_on(stream);
    }
}

/* ---- notifications --------------------------------------------------------------------------- */

/* The payload's first word is the topic: "<job id> <state>", "<user id>". */
static void on_notify(void *baton, const char *channel, const char *payload)
{
    char topic[128];
    size_t len = strcspn(payload, " ");
    (void)baton;
    (void)channel;
    if (len > 0 && len < sizeof(topic)) {
        memcpy(topic, payload, len);
        topic[len] = '\0';
        px_topics_wake(hub->topics, topic);
    }
}

static void on_gap(void *baton)
{
    (void)baton;
    px_topics_wake(hub->topics, NULL);
}

/* The descriptor may be another one, or a new one of the same number, after each call: an entry
 * that is gone from the epoll set is simply made again. */
static void watch_listener(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = hub};
    int fd = px_listener_fd(hub->listener);
    if (fd < 0) {
        return;
    }
    if (px_listener_wants_write(hub->listener)) {
        event.events |= EPOLLOUT;
    }
    if (epoll_ctl(hub->epoll, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
        epoll_ctl(hub->epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void listen_on(void)
{
    px_listener_process(hub->listener);
    watch_listener();
    hub->listen_at = px_monotonic() + 1000000;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool wait_for_events(void)
{
    struct epoll_event events[EVENTS];
    bool heard = false;
    int count = epoll_wait(hub->epoll, events, EVENTS, hub->streams ? TICK_MS : IDLE_MS);
    for (int i = 0; i < count; i++) {
        if (!events[i].data.ptr) {
            uint64_t value;
            ssize_t got = read(hub->wake, &value, sizeof(value));
            (void)got;
        } else if (events[i].data.ptr == hub) {
            heard = true;
        } else {
            on_client(events[i].data.ptr, events[i].events);
        }
    }
    return heard;
}

static void turn(void)
{
    px_waiter *waiter;
    bool heard = wait_for_events();
    take_arrivals();
    if (heard || px_monotonic() >= hub->listen_at) {
        listen_on();
    }
    while ((waiter = px_topics_ready(hub->topics)) != NULL) {
        step(waiter->baton, false);
    }
    if (px_monotonic() >= hub->scan_at) {
        scan();
        hub->scan_at = px_monotonic() + TICK_MS * 1000;
    }
}

/* A wait is answered as if its time were up; a stream is ended: its client comes back, with its
 * last event id, to a younger child. */
static void close_running(void)
{
    for (px_stream *stream = hub->streams; stream; stream = stream->next) {
        if (stream->phase != PX_STREAM_RUNNING) {
            continue;
        }
        if (stream->reply->mode == PX_REPLY_WAIT) {
            stream->reply->deadline = stream->deadline = px_now();
            stream->overdue = 2;
            step(stream, false);
        } else {
            px_conn_end_stream(stream);
        }
    }
}

static void *APR_THREAD_FUNC run(apr_thread_t *thread, void *baton)
{
    int64_t stop_at = 0;
    (void)thread;
    (void)baton;
    while (apr_atomic_read32(&hub->closing) != 2) {
        turn();
        if (!px_hub_closing()) {
            continue;
        }
        stop_at = stop_at ? stop_at : px_monotonic() + STOP_USEC;
        close_running();
        if (px_monotonic() >= stop_at
            || (apr_atomic_read32(&hub->slots) == 0 && !hub->streams)) {
            break;
        }
    }
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static px_err *open_descriptors(apr_pool_t *pool)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    hub->epoll = epoll_create1(EPOLL_CLOEXEC);
    hub->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hub->epoll < 0 || hub->wake < 0
        || epoll_ctl(hub->epoll, EPOLL_CTL_ADD, hub->wake, &event) != 0) {
        return px_error(pool, PX_E_INTERNAL, "PXS5131", "the stream thread has no descriptors: %s",
                        strerror(errno));
    }
    return NULL;
}

/* Signals belong to the MPM's threads. */
static apr_status_t start_thread(apr_pool_t *pool)
{
    sigset_t all;
    sigset_t before;
    apr_status_t rv;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(&hub->thread, NULL, run, NULL, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

px_err *px_hub_start(apr_pool_t *pool, px_host *host, px_app *app)
{
    static const char *const channels[] = {"pixshift_job", "pixshift_credit", NULL};
    px_hub *made = apr_pcalloc(pool, sizeof(*made));
    px_err *err;
    apr_status_t rv;
    apr_pool_create(&made->pool, pool);
    made->host = host;
    made->app = app;
    made->topics = px_topics_make(made->pool);
    apr_thread_mutex_create(&made->lock, APR_THREAD_MUTEX_DEFAULT, made->pool);
    hub = made;
    if ((err = open_descriptors(pool)) == NULL
        && (err = px_net_for(made->pool, host->settings, &made->net)) == NULL) {
        err = px_listener_open(app->db, made->pool, channels, on_notify, on_gap, NULL,
                               &made->listener);
    }
    if (!err && (rv = start_thread(made->pool)) != APR_SUCCESS) {
        err = px_error(pool, PX_E_INTERNAL, "PXS5132", "the stream thread was not started: %d", rv);
    }
    if (err) {
        hub = NULL;
    }
    return err;
}

void px_hub_suspended(conn_rec *c, request_rec *r)
{
    px_stream *stream;
    (void)r;
    if (!hub || !c->cs || c->cs->state != CONN_STATE_SUSPENDED) {
        return;
    }
    stream = ap_get_module_config(c->conn_config, &pixshift_module);
    if (!stream) {
        return;
    }
    ap_set_module_config(c->conn_config, &pixshift_module, NULL);
    apr_thread_mutex_lock(hub->lock);
    stream->next = hub->arrivals;
    hub->arrivals = stream;
    apr_thread_mutex_unlock(hub->lock);
    wake_up();
}

void px_hub_stopping(apr_pool_t *pchild, int graceful)
{
    apr_status_t rv;
    (void)pchild;
    if (!hub) {
        return;
    }
    apr_atomic_set32(&hub->closing, graceful ? 1 : 2);
    px_topics_close(hub->topics);
    wake_up();
    apr_thread_join(&rv, hub->thread);
}
