/* A stand-in for libtengine-lite.so that holds its caller to the documented order of calls. */
#include "tengine_api.h"
#include "shim.h"
#include <stdarg.h>
#include <time.h>

struct tensor {
    int type, count, dims[4], bytes, zero;
    float scale;
    void* data;
    const char* name;
};
struct graph {
    struct shim_file file;
    struct tensor input, output[2];
    int on_npu, ready, compiled;
};
static int running;
static struct graph* newest;
static const char* context_device[2]; /* [0]: its memory is the context */

#define NODE(number) ((node_t)(intptr_t)(number))

int init_tengine(void)
{
    running = shim_result("init_tengine", -1, 0) == 0;
    return running ? 0 : shim_result("init_tengine", -1, 0);
}
void release_tengine(void) { running = 0; }
const char* get_tengine_version(void) { return "1.5-shim"; }

context_t create_context(const char* name, int empty)
{
    if (!running || !name || empty != 1 || shim_fails("create_context"))
        return NULL;
    shim_note("create_context");
    context_device[0] = NULL;
    return context_device;
}
int set_context_device(context_t context, const char* device, const void* option, size_t size)
{
    if (context != context_device || option || size || strcmp(device, "TIMVX"))
        return -1;
    context_device[0] = device;
    return shim_result("set_context_device", -1, 0);
}
void destroy_context(context_t context)
{
    shim_note(context == context_device ? "destroy_context" : "destroy_context of another");
}

graph_t create_graph(context_t context, const char* format, const char* path, ...)
{
    if (!running || strcmp(format, "tengine") || (context && context != context_device))
        return NULL;
    struct graph* graph = calloc(1, sizeof *graph);
    if (shim_fails("create_graph") || shim_read(path, 'T', &graph->file)) {
        free(graph);
        return NULL;
    }
    const struct shim_file* file = &graph->file;
    int item = file->type == 0 ? 4 : 1;
    graph->on_npu = context != NULL && context_device[0] != NULL;
    graph->input = (struct tensor){file->type, 4, {1, 3, file->height, file->width},
                                   3 * file->height * file->width * item, file->in_zero,
                                   file->in_scale, NULL, "data"};
    for (int o = 0; o < shim_outputs(); o++)
        graph->output[o] = (struct tensor){file->type, 2, {1, shim_count(file, o)},
                                           shim_count(file, o) * item, shim_zero(file, o),
                                           shim_scale(file, o), NULL, o ? "more" : "feature"};
    shim_note("create_graph");
    newest = graph;
    return graph;
}
int destroy_graph(graph_t graph)
{
    struct graph* it = graph;
    shim_note(it->ready ? "destroy_graph before postrun" : "destroy_graph");
    free(it->output[0].data);
    free(it->output[1].data);
    free(it);
    return 0;
}
int get_graph_input_node_number(graph_t graph) { return graph ? shim_result("get_graph_input_node_number", 2, 1) : -1; }
int get_graph_output_node_number(graph_t graph) { return graph ? shim_result("get_graph_output_node_number", 2, shim_outputs()) : -1; }
tensor_t get_graph_input_tensor(graph_t graph, int node, int index)
{
    return node || index || shim_fails("get_graph_input_tensor") ? NULL : &((struct graph*)graph)->input;
}
tensor_t get_graph_output_tensor(graph_t graph, int node, int index)
{
    return node >= shim_outputs() || index || shim_fails("get_graph_output_tensor") ? NULL : &((struct graph*)graph)->output[node];
}
const char* get_tensor_name(tensor_t tensor) { return ((struct tensor*)tensor)->name; }
int get_tensor_shape(tensor_t tensor, int dims[], int number)
{
    struct tensor* it = tensor;
    if (number < it->count)
        return -1;
    memcpy(dims, it->dims, sizeof(int) * it->count);
    return shim_result("get_tensor_shape", -1, it->count);
}
int set_tensor_shape(tensor_t tensor, const int dims[], int number)
{
    struct tensor* it = tensor;
    if (number != 4 || memcmp(dims, it->dims, sizeof it->dims))
        return -1;
    return shim_result("set_tensor_shape", -1, 0);
}
int get_tensor_buffer_size(tensor_t tensor) { return ((struct tensor*)tensor)->bytes; }
void* get_tensor_buffer(tensor_t tensor) { return shim_fails("get_tensor_buffer") ? NULL : ((struct tensor*)tensor)->data; }
int set_tensor_buffer(tensor_t tensor, void* buffer, int bytes)
{
    struct tensor* it = tensor;
    if (bytes != it->bytes)
        return -1;
    it->data = buffer;
    return shim_result("set_tensor_buffer", -1, 0);
}
int get_tensor_data_type(tensor_t tensor) { return shim_result("get_tensor_data_type", 1, ((struct tensor*)tensor)->type); }
int get_tensor_layout(tensor_t tensor) { return tensor ? shim_result("get_tensor_layout", 1, 0) : -1; }
int get_tensor_quant_param(tensor_t tensor, float* scale, int* zero, int number)
{
    struct tensor* it = tensor;
    if (it->type == 0)
        return 0;
    if (number != 1)
        return -1;
    *scale = it->scale;
    *zero = it->zero;
    return shim_result("get_tensor_quant_param", -1, 1); /* the count, as the real one does */
}
int prerun_graph_multithread(graph_t graph, struct options options)
{
    struct graph* it = graph;
    int wanted = it->file.type == 0 ? 0 : it->file.type == 3 ? 3 : 4;
    if (options.precision != wanted || options.cluster != 0 || options.affinity != 0 ||
        options.num_thread < 0 || options.num_thread > 256) {
        fprintf(stderr, "shim: options %d %d %d %llx\n", options.num_thread, options.cluster,
                options.precision, (unsigned long long)options.affinity);
        return -1;
    }
    if (!it->input.data)
        return -1;
    shim_chat("prerun");
    it->ready = shim_result("prerun_graph_multithread", -1, 0) == 0;
    return it->ready ? 0 : -1;
}

static double value_of(const struct shim_file* file, int c, int i, const void* data)
{
    int at = c * file->height * file->width + i;
    if (file->type == 0)
        return ((const float*)data)[at];
    int level = file->type == 3 ? ((const uint8_t*)data)[at] : ((const int8_t*)data)[at];
    return (double)(level - file->in_zero) * file->in_scale;
}

int run_graph(graph_t graph, int block)
{
    struct graph* it = graph;
    const struct shim_file* file = &it->file;
    int result = shim_result("run_graph", -1, 0);
    if (!it->ready || block != 1 || result)
        return result ? result : -1;
    if (it->on_npu && !it->compiled) { /* the first run compiles the NPU's graph */
        struct timespec first = {0, 300 * 1000 * 1000};
        nanosleep(&first, NULL);
    }
    it->compiled = 1;
    shim_chat("run");
    for (int o = 0; o < shim_outputs(); o++) {
        /* The buffer moves, as it may. */
        void* old = it->output[o].data;
        void* fresh = malloc(it->output[o].bytes);
        float scale = shim_scale(file, o);
        int zero = shim_zero(file, o), first = shim_first(file, o);
        for (int k = 0; k < shim_count(file, o); k++) {
            double feature = shim_feature(file, first + k, value_of, it->input.data);
            if (file->type == 0)
                ((float*)fresh)[k] = (float)feature;
            else if (file->type == 3)
                ((uint8_t*)fresh)[k] = shim_quantized(feature, scale, zero, 0, 255);
            else
                ((int8_t*)fresh)[k] = shim_quantized(feature, scale, zero, -128, 127);
        }
        it->output[o].data = fresh;
        free(old);
    }
    return 0;
}
int postrun_graph(graph_t graph)
{
    ((struct graph*)graph)->ready = 0;
    return 0;
}

/* InputOp, a constant, and two layers; with SHIM_FAIL=placement the last is on the CPU. */
int get_graph_node_num(graph_t graph) { return graph ? 4 : -1; }
node_t get_graph_node_by_idx(graph_t graph, int index) { return graph && index < 4 ? NODE(index + 1) : NULL; }
const char* get_node_name(node_t node)
{
    static const char* names[] = {"data", "weights", "conv1", "fc1"};
    return names[(intptr_t)node - 1];
}
const char* get_node_op(node_t node)
{
    static const char* operators[] = {"InputOp", "Const", "Convolution", "FullyConnected"};
    return operators[(intptr_t)node - 1];
}
const char* get_node_device(node_t node)
{
    if ((intptr_t)node == 2)
        return NULL;
    if ((intptr_t)node == 1 || ((intptr_t)node == 4 && shim_fails("placement")))
        return "CPU";
    return newest->on_npu ? "TIMVX" : "CPU";
}
