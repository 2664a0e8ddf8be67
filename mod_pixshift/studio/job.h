/* The job engine's rules: states, creation inside the caller's transaction, claiming, finishing.
 * States: queued, waiting_payment, running, succeeded, failed, canceled, expired (C-11).
 * Lock order: job → hold → wallet → entries.  The worker host drives; httpd creates and reads. */
#ifndef PX_STUDIO_JOB_H
#define PX_STUDIO_JOB_H

#include "base/error.h"
#include "config/app.h"
#include "http/http.h"

/* Routes of this slice, for the hosts. */
extern const px_route px_studio_routes[];

/* ---- worker side ---- */
typedef struct px_engine px_engine;
/* The engine is the worker's whole work: claims jobs, drives them through storage, helper and
 * providers, finishes them, runs retention and reaping. One thread, one event loop. */
px_err *px_engine_open(apr_pool_t *pool, const px_app *app, px_engine **out);
/* One turn of the loop, ≤ timeout_ms. */
px_err *px_engine_turn(px_engine *engine, int timeout_ms);
/* Stop claiming; *idle when nothing is in flight. */
void px_engine_drain(px_engine *engine);
bool px_engine_idle(const px_engine *engine);
/* Hands unfinished jobs back (drain deadline passed). */
void px_engine_hand_back(px_engine *engine);
void px_engine_close(px_engine *engine);

#endif
