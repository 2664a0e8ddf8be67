/* One side of bench_image.py: encodes one file again and again through the image helper.
 *   image_encode HELPER draw AI_LOCAL OUT
 *       draws a 4000x3000 JPEG to work on
 *   image_encode HELPER encode IN SIDE QUALITY
 *       for each line read: encodes to WebP, prints milliseconds, size and bytes */
#include "base/clock.h"
#include "image/helper.h"
#include <apr_general.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static apr_pool_t *pool;
static px_helper *helper;

static void must(px_err *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", err->cause ? err->cause : err->text);
    exit(1);
}

static px_helper_result run(const px_helper_task *task)
{
    px_helper_result result;
    must(px_helper_run_sync(pool, helper, task, &result));
    if (result.status != PX_HELPER_OK) {
        fprintf(stderr, "%s\n", result.reason);
        exit(1);
    }
    return result;
}

static int new_file(void)
{
    int fd = -1;
    must(px_helper_memfd(pool, NULL, 0, &fd));
    return fd;
}

static int local(const char *plugin, const pxs_ai_request *request, int input)
{
    static const pxs_value values[2] = { { 1, "2048", 2048 }, { 1, "90", 90 } };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .plugin = plugin, .values = values,
                            .value_count = 2, .request = request, .inputs = { input },
                            .input_count = request->image_count, .output = new_file() };
    run(&task);
    return task.output;
}

static int draw(const char *plugin, const char *path)
{
    const pxs_param size[] = { { "width", "2000" }, { "height", "1500" } };
    const pxs_param twice[] = { { "scale", "2" }, { "format", "jpg" } };
    const pxs_image image = { .role = "input", .mime = "image/png" };
    const pxs_ai_request poster = { .size = sizeof poster, .operation = PXS_AI_GENERATE,
                                    .prompt = "city in the forest", .params = size,
                                    .param_count = 2 };
    const pxs_ai_request larger = { .size = sizeof larger, .operation = PXS_AI_ENHANCE,
                                    .params = twice, .param_count = 2, .images = &image,
                                    .image_count = 1 };
    char *data;
    size_t len;
    must(px_helper_read_all(pool, local(plugin, &larger, local(plugin, &poster, -1)), 64u << 20,
                            &data, &len));
    FILE *f = fopen(path, "wb");
    return f && fwrite(data, 1, len, f) == len && fclose(f) == 0 ? 0 : 1;
}

static int encode(const char *path, unsigned side, unsigned quality)
{
    char line[16];
    px_helper_task task = { .verb = PX_HELPER_ENCODE, .input_count = 1,
                            .inputs = { open(path, O_RDONLY | O_CLOEXEC) }, .output = new_file(),
                            .format = "webp", .max_side = side, .quality = quality };
    while (fgets(line, sizeof line, stdin)) {
        int64_t begin = px_monotonic();
        px_helper_result r = run(&task);
        printf("%.2f %ux%u %llu\n", (double)(px_monotonic() - begin) / 1000, r.width, r.height,
               (unsigned long long)r.bytes);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    if (argc < 5)
        return 2;
    px_helper_config config = { .program = argv[1], .cpu_s = 60, .wall_ms = 60000 };
    must(px_helper_start(pool, &config, &helper));
    int status = strcmp(argv[2], "draw") == 0 ? draw(argv[3], argv[4])
        : argc == 6 ? encode(argv[3], (unsigned)strtoul(argv[4], NULL, 10),
                             (unsigned)strtoul(argv[5], NULL, 10)) : 2;
    px_helper_stop(helper);
    return status;
}
