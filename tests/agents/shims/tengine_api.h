/* The part of Tengine's C API that farm calls, as its documentation has it. */
#include <stddef.h>
#include <stdint.h>

typedef void* context_t;
typedef void* graph_t;
typedef void* tensor_t;
typedef void* node_t;

struct options {
    int num_thread;
    int cluster;
    int precision;
    uint64_t affinity;
};

int init_tengine(void);
void release_tengine(void);
const char* get_tengine_version(void);
context_t create_context(const char* context_name, int empty_context);
int set_context_device(context_t context, const char* dev_name, const void* dev_option, size_t dev_opt_size);
void destroy_context(context_t context);
graph_t create_graph(context_t context, const char* model_format, const char* file_name, ...);
int destroy_graph(graph_t graph);
int get_graph_input_node_number(graph_t graph);
int get_graph_output_node_number(graph_t graph);
tensor_t get_graph_input_tensor(graph_t graph, int input_node_idx, int tensor_idx);
tensor_t get_graph_output_tensor(graph_t graph, int output_node_idx, int tensor_idx);
const char* get_tensor_name(tensor_t tensor);
int get_tensor_shape(tensor_t tensor, int dims[], int dim_number);
int set_tensor_shape(tensor_t tensor, const int dims[], int dim_number);
int get_tensor_buffer_size(tensor_t tensor);
void* get_tensor_buffer(tensor_t tensor);
int set_tensor_buffer(tensor_t tensor, void* buffer, int buffer_size);
int get_tensor_data_type(tensor_t tensor);
int get_tensor_layout(tensor_t tensor);
int get_tensor_quant_param(tensor_t tensor, float* scale, int* zero_point, int number);
int prerun_graph_multithread(graph_t graph, struct options opt);
int run_graph(graph_t graph, int block);
int postrun_graph(graph_t graph);
int get_graph_node_num(graph_t graph);
node_t get_graph_node_by_idx(graph_t graph, int idx);
const char* get_node_name(node_t node);
const char* get_node_op(node_t node);
const char* get_node_device(node_t node);
