/* Runs a fuzz target over stored inputs without a fuzzing engine: every file named on the command
 * line, or in a folder named there.  `make check` uses it, so that old findings stay fixed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A heap block of the exact size, so that the sanitizers see a read behind its end. */
static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;
    if (!f || fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        if (f) {
            fclose(f);
        }
        return -1;
    }
    data = malloc(st.st_size ? (size_t)st.st_size : 1);
    if (data && fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size) {
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    }
    free(data);
    fclose(f);
    return 1;
}

static int replay(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int ran = 0;
    if (!dir) {
        return replay_file(path);
    }
    while ((entry = readdir(dir)) != NULL) {
        char name[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        ran += replay_file(name) > 0;
    }
    closedir(dir);
    return ran;
}

/* Without arguments the target's own corpus below $srcdir. */
int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    char own[4096];
    int ran = 0;
    if (argc < 2) {
        const char *name = strrchr(argv[0], '/');
        name = name ? name + 1 : argv[0];
        name = strncmp(name, "lt-", 3) == 0 ? name + 3 : name;
        name = strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name;
        snprintf(own, sizeof(own), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
        ran = replay(own);
    }
    for (int i = 1; i < argc; i++) {
        ran += replay(argv[i]);
    }
    printf("%d inputs replayed\n", ran);
    return ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
