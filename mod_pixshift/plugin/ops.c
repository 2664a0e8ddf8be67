/* The verbs of each kind: where they stand in the ops table and when they must be there. */
#include "plugin_internal.h"

#include <string.h>

#define VERB(table, verb, caps, request, result) \
    { #verb, offsetof(table, verb), caps, sizeof(request), sizeof(result) }
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static const px_verb ai_verbs[] = {
    VERB(pxs_ai_ops, run, 0, pxs_ai_request, pxs_ai_result),
};

static const px_verb storage_verbs[] = {
    VERB(pxs_storage_ops, put, 0, pxs_storage_request, pxs_storage_result),
    VERB(pxs_storage_ops, get, 0, pxs_storage_request, pxs_storage_result),
    VERB(pxs_storage_ops, del, 0, pxs_storage_request, pxs_storage_result),
    VERB(pxs_storage_ops, sign_url, PXS_STORAGE_SIGN_URL, pxs_storage_request, pxs_storage_result),
};

static const px_verb message_verbs[] = {
    VERB(pxs_message_ops, send, 0, pxs_message_request, pxs_message_result),
};

static const px_verb pay_verbs[] = {
    VERB(pxs_pay_ops, checkout, PXS_PAY_CHECKOUT, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, charge, PXS_PAY_CHARGE, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, capture, PXS_PAY_CAPTURE, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, refund, PXS_PAY_REFUND, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, subscribe, PXS_PAY_SUBSCRIBE, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, cancel, PXS_PAY_SUBSCRIBE, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, portal, PXS_PAY_PORTAL, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, query, 0, pxs_pay_request, pxs_pay_result),
    VERB(pxs_pay_ops, verify_event, 0, pxs_pay_webhook, pxs_pay_event),
    VERB(pxs_pay_ops, parse_event, 0, pxs_pay_webhook, pxs_pay_event),
};

static const px_verb identity_verbs[] = {
    VERB(pxs_identity_ops, authorize_url, PXS_IDENTITY_OIDC, pxs_identity_request,
         pxs_identity_result),
    VERB(pxs_identity_ops, exchange_code, PXS_IDENTITY_OIDC, pxs_identity_request,
         pxs_identity_result),
    VERB(pxs_identity_ops, profile, PXS_IDENTITY_BEARER, pxs_identity_request,
         pxs_identity_result),
};

static const px_kind kinds[] = {
    { PXS_KIND_AI, "ai", sizeof(pxs_ai_ops),
      PXS_AI_EDIT | PXS_AI_COMPOSE | PXS_AI_GENERATE | PXS_AI_ENHANCE | PXS_AI_CHAT,
      ai_verbs, COUNT(ai_verbs) },
    { PXS_KIND_PAY, "pay", sizeof(pxs_pay_ops),
      PXS_PAY_CHECKOUT | PXS_PAY_CHARGE | PXS_PAY_SUBSCRIBE, pay_verbs, COUNT(pay_verbs) },
    { PXS_KIND_STORAGE, "storage", sizeof(pxs_storage_ops), 0, storage_verbs,
      COUNT(storage_verbs) },
    { PXS_KIND_MESSAGE, "message", sizeof(pxs_message_ops), PXS_MESSAGE_SMS | PXS_MESSAGE_EMAIL,
      message_verbs, COUNT(message_verbs) },
    { PXS_KIND_IDENTITY, "identity", sizeof(pxs_identity_ops),
      PXS_IDENTITY_OIDC | PXS_IDENTITY_BEARER, identity_verbs, COUNT(identity_verbs) },
};

const px_kind *px_kind_find(uint32_t kind)
{
    for (int i = 0; i < COUNT(kinds); i++) {
        if ((uint32_t)kinds[i].kind == kind) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* Function pointers in an ops table have one size and form; C has no other portable way to pick one
 * by name. */
px_op_fn *px_kind_verb(const void *ops, const px_verb *verb)
{
    px_op_fn *fn;

    memcpy(&fn, (const char *)ops + verb->offset, sizeof fn);
    return fn;
}
