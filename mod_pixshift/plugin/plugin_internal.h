/* What the files of plugin/ share. */
#ifndef PX_PLUGIN_INTERNAL_H
#define PX_PLUGIN_INTERNAL_H

#include "plugin.h"

#include <pthread.h>

#define PX_PLUGIN_OPTIONS_MAX 128

struct px_plugin {
    void *dl;
    int fd;                         /* kept open: dlopen remembers objects by "/proc/self/fd/N" */
    const char *path;
    const pxs_plugin *descriptor;
};

struct px_instance {
    const px_plugin_section *section;
    const char *path;
    const px_plugin_info *info;
    px_plugin *plugin;              /* NULL = known, not loaded here */
    pxs_value *values;              /* in table order; NULL when not resolved here */
    const void *ops;
    void *opened;                   /* the plugin's instance */
    const char *file_root;          /* of its file: exchanges; NULL = none allowed */
    pthread_mutex_t lock;           /* the SDK promises one thread at a time in an instance */
};

struct px_registry {
    apr_pool_t *pool;
    const px_settings *settings;
    px_instance **instances;        /* in order of the sections */
    int count;
};

/* ops.c: what the ops table of each kind has. */
typedef struct {
    const char *name;               /* of the verb */
    size_t offset;                  /* in the ops table */
    uint32_t caps;                  /* required when one of these is declared; 0 = always */
    size_t request_size, result_size;
} px_verb;

typedef struct {
    pxs_kind kind;
    const char *name;               /* "ai" */
    size_t ops_size;                /* of ABI 1.0 */
    uint32_t work;                  /* at least one of these bits must be declared; 0 = none */
    const px_verb *verbs;
    int verb_count;
} px_kind;

typedef struct {                    /* PXS_OPS_HEAD */
    PXS_OPS_HEAD
} px_ops_head;

const px_kind *px_kind_find(uint32_t kind);         /* NULL = unknown */
/* The function in an ops table, NULL when the slot is empty. */
px_op_fn *px_kind_verb(const void *ops, const px_verb *verb);

/* check.c: NULL or a sentence. */
const char *px_descriptor_fault(apr_pool_t *pool, const pxs_plugin *descriptor, const char *path);
/* Copies what describe tells; the descriptor has passed the check. */
px_plugin_info *px_descriptor_copy(apr_pool_t *pool, const pxs_plugin *descriptor);
/* Row i of a table whose rows may be longer than ours. */
const pxs_option *px_option_row(const pxs_plugin *descriptor, uint32_t i);

/* options.c: parses one value as written; NULL or a sentence without the option's name. */
const char *px_option_parse(apr_pool_t *pool, const pxs_option *option, const char *text,
                            pxs_value *value);

/* info_wire.c: a px_plugin_info as bytes, for the pipe from the describing child. */
void px_info_write(px_buf *out, const px_plugin_info *info);
px_plugin_info *px_info_read(apr_pool_t *pool, const char *data, size_t len);

/* child.c: runs `work` in a forked child and gives back what it wrote to the pipe.  *fault is a
 * sentence when the child crashed, hung for limit_ms or ended oddly. */
typedef void px_child_work(void *baton, int pipe_fd);
px_buf *px_child_run(apr_pool_t *pool, int limit_ms, px_child_work *work, void *baton,
                     const char **fault);
void px_child_write(int fd, const void *data, size_t len);

/* registry.c */
const char *px_file_root_of(const px_plugin_info *info, const pxs_value *values);

/* op.c and conform: prepares a call for the plugin. */
void px_call_init(pxs_call *call, void *host, void *(*alloc)(pxs_call *, size_t),
                  void (*log)(pxs_call *, int, const char *),
                  void (*emit)(pxs_call *, const char *, size_t));
/* px_op_run; *temporary = the last reply was a spool file (reply->path). */
px_err *px_op_run_told(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                       const void *request, void *result, const px_net_options *options,
                       bool *temporary);

#endif
