/* What the stand-ins for vendors' libraries share: their file format, what they compute, how they
 * are told to fail. They print as chattily as the vendors' own do, on stdout.
 *
 * A file is this header alone: a tmfile's first 12 bytes, "FSHIM", sizes, scales. The feature is,
 * in double,
 *   feature[k] = sum over channel c and position i of weight(k, c, i) * value(c, i) * gain / positions
 * with small whole weights that differ at each place: another layout, colour order, scale or zero
 * point gives another feature.
 */
#ifndef FARM_SHIM_H
#define FARM_SHIM_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shim_file {
    uint32_t tmfile[3];
    char magic[8]; /* "FSHIM" and the vendor: "T" or "R" */
    int32_t type;  /* of input and output: 0 float32, 2 int8, 3 uint8 */
    int32_t height, width, dim;
    float in_scale;
    int32_t in_zero;
    float out_scale;
    int32_t out_zero;
    float gain;
    float mean[3], std[3]; /* R only */
};

static inline int shim_read(const char* path, char vendor, struct shim_file* into)
{
    FILE* file = fopen(path, "rb");
    if (!file)
        return -1;
    size_t count = fread(into, sizeof *into, 1, file);
    fclose(file);
    return count == 1 && !memcmp(into->magic, "FSHIM", 5) && into->magic[5] == vendor ? 0 : -1;
}

static inline int shim_weight(int k, int c, int i)
{
    return (k * 31 + c * 17 + i * 7 + (k + 1) * i % 13) % 11 - 5;
}

/* `value(c, i, data)` gives the input's value. */
static inline double shim_feature(const struct shim_file* file, int k,
                                  double (*value)(const struct shim_file*, int, int, const void*),
                                  const void* data)
{
    int positions = file->height * file->width;
    double sum = 0;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < positions; i++)
            sum += shim_weight(k, c, i) * value(file, c, i, data);
    return sum * file->gain / positions;
}

static inline int shim_quantized(double value, float scale, int zero, int low, int high)
{
    double level = round(value / scale + zero);
    return (int)(level < low ? low : level > high ? high : level);
}

/* SHIM_FAIL is `function` or `function=code`; the code then, else `usual`; `fine` otherwise. */
static inline int shim_result(const char* function, int usual, int fine)
{
    const char* told = getenv("SHIM_FAIL");
    size_t length = strlen(function);
    if (!told || strncmp(told, function, length) || (told[length] && told[length] != '='))
        return fine;
    return told[length] ? atoi(told + length + 1) : usual;
}

/* Whether SHIM_FAIL names the function: for those that return pointers. */
static inline int shim_fails(const char* function)
{
    return shim_result(function, 1, 0) != 0;
}

/* SHIM_COUNT names a file in which each opening and closing leaves a line. */
static inline void shim_note(const char* what)
{
    const char* path = getenv("SHIM_COUNT");
    FILE* file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", what);
        fclose(file);
    }
}

/* With SHIM_OUTPUTS=2 a third of the feature is the first output, the rest the second, which has
 * twice the scale and a zero point that is higher by 3. */
static inline int shim_outputs(void)
{
    const char* told = getenv("SHIM_OUTPUTS");
    return told ? atoi(told) : 1;
}
static inline int shim_first(const struct shim_file* file, int output)
{
    return output ? file->dim / 3 : 0;
}
static inline int shim_count(const struct shim_file* file, int output)
{
    if (shim_outputs() == 1)
        return file->dim;
    return output ? file->dim - file->dim / 3 : file->dim / 3;
}
static inline float shim_scale(const struct shim_file* file, int output)
{
    return output ? 2 * file->out_scale : file->out_scale;
}
static inline int shim_zero(const struct shim_file* file, int output)
{
    return file->out_zero + 3 * output;
}

static inline void shim_chat(const char* what)
{
    printf("shim: %s FARM\x01\x02 binary looking words on stdout\n", what);
    fflush(stdout);
}
#endif
