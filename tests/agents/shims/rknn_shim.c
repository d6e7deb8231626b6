/* A stand-in for librknn_api.so (RKNN_VERSION 1) and librknnrt.so (2) that holds its caller to the
 * documented order of calls and sizes. Compiled for either. */
#include "rknn_api.h"
#include "shim.h"

#if RKNN_VERSION == 1
const char shim_words[] = "librknn_api version 1.7.5 (shim build: 2026-11-25)";
#else
const char shim_words[] = "librknnrt version: 2.3.2 (shim@2026-11-25)";
#endif

#define GRAPH 64 /* where an RKNN file's compiled graph begins */

/* Its upper half must arrive where the context is 64 bits wide. */
static const rknn_context OURS = (rknn_context)0x12345678abcdef01ULL;
static struct shim_file file;
static uint8_t* image;
static float* feature;
static int ran, held;

#if RKNN_VERSION == 1
int rknn_init(rknn_context* context, void* model, uint32_t size, uint32_t flag)
{
#else
int rknn_set_core_mask(rknn_context context, int mask) { return context == OURS && mask >= 0 ? 0 : -7; }
int rknn_init(rknn_context* context, void* model, uint32_t size, uint32_t flag, void* extend)
{
    if (extend)
        return -5;
#endif
    int code = shim_result("rknn_init", -1, 0);
    if (code)
        return code;
    if (flag || size < sizeof file)
        return flag ? -5 : -6;
    memcpy(&file, model, sizeof file);
    /* What toolkit 2's stand-in makes is laid out as an RKNN file, with ours as its graph. */
    if (memcmp(file.magic, "FSHIMR", 6) && size >= GRAPH + sizeof file)
        memcpy(&file, (char*)model + GRAPH - sizeof file.tmfile, sizeof file);
    if (memcmp(file.magic, "FSHIMR", 6))
        return -6;
    shim_chat("init");
    shim_note("rknn_init");
    *context = OURS;
    return 0;
}
int rknn_destroy(rknn_context context)
{
    shim_note(held ? "rknn_destroy with outputs held" : "rknn_destroy");
    free(image);
    image = NULL;
    return context == OURS ? 0 : -7;
}

static int describe(rknn_tensor_attr* attr, int is_input)
{
    int output = attr->index;
    if (output >= (is_input ? 1 : shim_outputs()))
        return -5;
    uint32_t in[4] = {1, 3, file.height, file.width}, out[2] = {1, shim_count(&file, output)};
    uint32_t nhwc[4] = {1, file.height, file.width, 3};
#if RKNN_VERSION == 2
    memcpy(in, nhwc, sizeof in);
#endif
    attr->n_dims = is_input ? 4 : 2;
    for (uint32_t at = 0; at < attr->n_dims; at++) {
        uint32_t size = is_input ? in[at] : out[at];
#if RKNN_VERSION == 1
        attr->dims[attr->n_dims - 1 - at] = size; /* innermost first */
#else
        attr->dims[at] = size;
#endif
    }
    (void)nhwc;
    strcpy(attr->name, is_input ? "data" : output ? "more" : "feature");
    attr->n_elems = is_input ? 3 * file.height * file.width : shim_count(&file, output);
    attr->size = attr->n_elems;
    attr->fmt = RKNN_VERSION == 1 ? RKNN_TENSOR_NCHW : RKNN_TENSOR_NHWC;
    attr->type = file.type == 2 ? RKNN_TENSOR_INT8 : RKNN_TENSOR_UINT8;
    attr->qnt_type = RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC;
    attr->zp = is_input ? file.in_zero : shim_zero(&file, output);
    attr->scale = is_input ? file.in_scale : shim_scale(&file, output);
    return 0;
}

int rknn_query(rknn_context context, rknn_query_cmd command, void* info, uint32_t size)
{
    static const uint32_t sizes[] = {sizeof(rknn_input_output_num), sizeof(rknn_tensor_attr),
                                     sizeof(rknn_tensor_attr), 0, sizeof(rknn_perf_run),
                                     sizeof(rknn_sdk_version)};
    char name[32];
    if (context != OURS)
        return -7;
    if (command >= RKNN_QUERY_CMD_MAX || size != sizes[command])
        return -5;
    snprintf(name, sizeof name, "rknn_query%d", (int)command);
    int code = shim_result(name, -1, 0);
    if (code)
        return code;
    switch (command) {
    case RKNN_QUERY_IN_OUT_NUM:
        *(rknn_input_output_num*)info = (rknn_input_output_num){1, shim_outputs()};
        return 0;
    case RKNN_QUERY_INPUT_ATTR:
    case RKNN_QUERY_OUTPUT_ATTR:
        return describe(info, command == RKNN_QUERY_INPUT_ATTR);
    case RKNN_QUERY_PERF_RUN: /* valid only while outputs are held */
        ((rknn_perf_run*)info)->run_duration = held ? 4321 : 0;
        return held ? 0 : -1;
    default:
        strcpy(((rknn_sdk_version*)info)->api_version, RKNN_VERSION == 1 ? "1.7.5 (shim)" : "2.3.2 (shim)");
        strcpy(((rknn_sdk_version*)info)->drv_version, "0.9.6");
        return 0;
    }
}

int rknn_inputs_set(rknn_context context, uint32_t count, rknn_input inputs[])
{
    int code = shim_result("rknn_inputs_set", -8, 0);
    if (context != OURS || code)
        return code ? code : -7;
    uint32_t bytes = 3 * file.height * file.width;
    if (count != 1 || inputs->index || inputs->size != bytes || inputs->pass_through ||
        inputs->type != RKNN_TENSOR_UINT8 || inputs->fmt != RKNN_TENSOR_NHWC)
        return -8;
    image = realloc(image, bytes);
    memcpy(image, inputs->buf, bytes);
    return 0;
}
int rknn_run(rknn_context context, void* extend)
{
    int code = shim_result("rknn_run", -1, 0);
    if (context != OURS || extend || code)
        return code ? code : -5;
    if (held)
        return -9; /* outputs of the run before were not released */
    shim_chat("run");
    ran = image != NULL;
    return ran ? 0 : -8;
}

static double value_of(const struct shim_file* it, int c, int i, const void* data)
{
    return (((const uint8_t*)data)[3 * i + c] - (double)it->mean[c]) / it->std[c];
}

int rknn_outputs_get(rknn_context context, uint32_t count, rknn_output outputs[], void* extend)
{
    int code = shim_result("rknn_outputs_get", -9, 0);
    if (context != OURS || extend || code)
        return code ? code : -5;
    if (!ran || (int)count != shim_outputs())
        return -9;
    for (uint32_t o = 0; o < count; o++)
        if (outputs[o].want_float != 1 || outputs[o].is_prealloc || outputs[o].index != o)
            return -9;
    int low = file.type == 2 ? -128 : 0, high = low + 255;
    feature = malloc(sizeof(float) * file.dim);
    for (uint32_t o = 0; o < count; o++) {
        float scale = shim_scale(&file, o);
        int first = shim_first(&file, o), zero = shim_zero(&file, o);
        for (int k = first; k < first + shim_count(&file, o); k++) {
            double exact = shim_feature(&file, k, value_of, image);
            feature[k] = (shim_quantized(exact, scale, zero, low, high) - zero) * scale;
        }
        outputs[o].buf = feature + first;
        outputs[o].size = shim_fails("size") ? 3 : sizeof(float) * shim_count(&file, o);
    }
    held = 1;
    return 0;
}
int rknn_outputs_release(rknn_context context, uint32_t count, rknn_output outputs[])
{
    if (context != OURS || (int)count != shim_outputs() || outputs->buf != feature)
        return -5;
    free(feature);
    feature = NULL;
    held = 0;
    return 0;
}
