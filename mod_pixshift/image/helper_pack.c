/* Turning a px_helper_task into a packet; see helper_pack.h. */
#include "helper_pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool add_n(px_wire_packet *packet, const char *stem, unsigned n, const char *field,
                  const char *value)
{
    char key[64];
    snprintf(key, sizeof key, "%s%u%s", stem, n, field);
    return px_wire_add(packet, key, value);
}

static bool add_number(px_wire_packet *packet, const char *stem, unsigned n, const char *field,
                       int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return add_n(packet, stem, n, field, text);
}

static bool pack_values(const px_helper_task *task, px_wire_packet *packet)
{
    bool ok = true;
    packet->head.value_count = task->value_count;
    for (unsigned i = 0; ok && i < task->value_count; i++) {
        const pxs_value *v = &task->values[i];
        ok = add_number(packet, "opt", i, ".set", v->is_set)
            && add_number(packet, "opt", i, ".number", v->number)
            && add_n(packet, "opt", i, ".text", v->text);
    }
    return ok;
}

static bool pack_images(const pxs_ai_request *request, px_wire_packet *packet)
{
    bool ok = true;
    packet->head.image_count = request->image_count;
    for (unsigned i = 0; ok && i < request->image_count; i++) {
        const pxs_image *image = &request->images[i];
        ok = add_n(packet, "img", i, ".role", image->role)
            && add_n(packet, "img", i, ".mime", image->mime)
            && add_number(packet, "img", i, ".width", image->width)
            && add_number(packet, "img", i, ".height", image->height);
    }
    return ok;
}

static bool pack_params(const pxs_ai_request *request, px_wire_packet *packet)
{
    bool ok = true;
    packet->head.param_count = request->param_count;
    for (unsigned i = 0; ok && i < request->param_count; i++)
        ok = request->params[i].name && request->params[i].value
            && add_n(packet, "par", i, ".name", request->params[i].name)
            && add_n(packet, "par", i, ".value", request->params[i].value);
    return ok;
}

static bool pack_plugin(const px_helper_task *task, px_wire_packet *packet)
{
    const pxs_ai_request *request = task->request;
    if (!task->plugin || !request || request->image_count != task->input_count
        || (task->value_count && !task->values))
        return false;
    packet->head.operation = request->operation;
    return px_wire_add(packet, "plugin", task->plugin)
        && px_wire_add(packet, "request_id", request->request_id)
        && px_wire_add(packet, "prompt", request->prompt)
        && px_wire_add(packet, "user_tag", request->user_tag)
        && pack_values(task, packet) && pack_images(request, packet)
        && pack_params(request, packet);
}

bool px_helper_pack(const px_helper_task *task, px_wire_packet *packet)
{
    px_wire_task *head = &packet->head;
    memset(head, 0, sizeof *head);
    if (task->input_count > PX_HELPER_INPUTS)
        return false;
    head->magic = PX_WIRE_MAGIC;
    head->verb = task->verb;
    head->wall_ms = task->wall_ms;
    head->cpu_s = task->cpu_s;
    head->quality = task->quality;
    head->max_side = task->max_side;
    head->max_pixels = task->max_pixels;
    head->input_count = task->input_count;
    head->has_output = task->verb != PX_HELPER_PROBE;
    if (task->verb == PX_HELPER_PLUGIN)
        return pack_plugin(task, packet);
    return task->input_count == 1 && px_wire_add(packet, "format", task->format);
}
