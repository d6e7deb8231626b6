/* libcudart of a pretended GPU, for the tests: the CUDA runtime API's documented declarations over
 * host memory. Copies, events and work are queued and done only by cudaStreamSynchronize, in order,
 * so that a result that was not waited for is wrong. Everything is counted.
 *
 * SHIM_FAIL="cudaMalloc:2:2" makes the second cudaMalloc return 2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int cudaError_t;
typedef void *cudaStream_t;
typedef void *cudaEvent_t;
enum { H2D = 1, D2H = 2, MOST = 256 };

struct block { char *at; size_t size; };
struct event { double ms; int recorded; };
struct job { int kind; void *to; const void *from; size_t size; void (*work)(void *); };
struct stream { struct job jobs[MOST]; int count; };

static struct block blocks[MOST];
static int live_memory, live_streams, live_events, calls_failed;

static cudaError_t failing(const char *name) {
  static struct { char name[64]; int calls; } seen[64];
  const char *told = getenv("SHIM_FAIL");
  char wanted[64];
  int at, code, i = 0;
  if (!told || sscanf(told, "%63[^:]:%d:%d", wanted, &at, &code) != 3) return 0;
  while (seen[i].name[0] && strcmp(seen[i].name, name)) i++;
  strncpy(seen[i].name, name, 63);
  seen[i].calls++;
  if (!strcmp(wanted, name) && seen[i].calls == at) { calls_failed++; return code; }
  return 0;
}
#define START(name) do { cudaError_t code_ = failing(name); if (code_) return code_; } while (0)

static int on_device(const void *at, size_t size) {
  for (int i = 0; i < MOST; i++)
    if (blocks[i].at && (const char *)at >= blocks[i].at &&
        (const char *)at + size <= blocks[i].at + blocks[i].size) return 1;
  return 0;
}

cudaError_t cudaMalloc(void **pointer, size_t size) {
  START("cudaMalloc");
  if ((unsigned long long)size > 1ULL << 40) return 2;
  for (int i = 0; i < MOST; i++)
    if (!blocks[i].at) {
      blocks[i].at = malloc(size ? size : 1);
      blocks[i].size = size;
      memset(blocks[i].at, 0xA5, size);
      *pointer = blocks[i].at;
      live_memory++;
      return 0;
    }
  return 2;
}

cudaError_t cudaFree(void *pointer) {
  START("cudaFree");
  if (!pointer) return 0;
  for (int i = 0; i < MOST; i++)
    if (blocks[i].at == pointer) {
      free(pointer);
      blocks[i].at = NULL;
      live_memory--;
      return 0;
    }
  return 1;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  START("cudaStreamCreate");
  *stream = calloc(1, sizeof(struct stream));
  live_streams++;
  return 0;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  START("cudaStreamDestroy");
  free(stream);
  live_streams--;
  return 0;
}

static cudaError_t put(cudaStream_t stream, struct job job) {
  struct stream *queue = stream;
  if (!queue) return 400;
  if (queue->count == MOST) return 2;
  queue->jobs[queue->count++] = job;
  return 0;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t s) {
  START("cudaMemcpyAsync");
  if (kind != H2D && kind != D2H) return 21;
  if (!on_device(kind == H2D ? to : from, size) || on_device(kind == H2D ? from : to, size))
    return 1;
  return put(s, (struct job){0, to, from, size, NULL});
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  START("cudaEventCreate");
  *event = calloc(1, sizeof(struct event));
  live_events++;
  return 0;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  START("cudaEventDestroy");
  free(event);
  live_events--;
  return 0;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  START("cudaEventRecord");
  return put(stream, (struct job){1, event, NULL, 0, NULL});
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  START("cudaStreamSynchronize");
  struct stream *queue = stream;
  if (!queue) return 400;
  for (int i = 0; i < queue->count; i++) {
    struct job *job = &queue->jobs[i];
    struct timespec now;
    if (job->kind == 0) memcpy(job->to, job->from, job->size);
    if (job->kind == 1) {
      struct event *event = job->to;
      clock_gettime(CLOCK_MONOTONIC, &now);
      event->ms = now.tv_sec * 1e3 + now.tv_nsec / 1e6;
      event->recorded = 1;
    }
    if (job->kind == 2) job->work(job->to);
  }
  queue->count = 0;
  return 0;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
  START("cudaEventElapsedTime");
  struct event *one = begin, *two = end;
  if (!one->recorded || !two->recorded) return 600;
  *ms = (float)(two->ms - one->ms);
  return 0;
}

cudaError_t cudaGetDeviceCount(int *count) {
  START("cudaGetDeviceCount");
  *count = 1;
  return 0;
}

cudaError_t cudaGetDeviceProperties(void *properties, int device) {
  START("cudaGetDeviceProperties");
  if (device) return 101;
  memset(properties, 0, 1032);
  strcpy(properties, getenv("SHIM_GPU") ? getenv("SHIM_GPU") : "Xavier");
  return 0;
}

cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int device) {
  START("cudaDeviceGetAttribute");
  if (device) return 101;
  *value = attribute == 75 ? 7 : attribute == 76 ? 2 : attribute == 16 ? 6 : -1;
  return 0;
}

cudaError_t cudaRuntimeGetVersion(int *value) { START("cudaRuntimeGetVersion"); *value = 11040; return 0; }
cudaError_t cudaDriverGetVersion(int *value) { START("cudaDriverGetVersion"); *value = 12020; return 0; }

const char *cudaGetErrorName(cudaError_t code) {
  return code == 2 ? "cudaErrorMemoryAllocation" : code == 100 ? "cudaErrorNoDevice"
       : code == 700 ? "cudaErrorIllegalAddress" : "cudaErrorUnknown";
}
const char *cudaGetErrorString(cudaError_t code) {
  return code == 2 ? "out of memory" : code == 100 ? "no CUDA-capable device is detected"
       : code == 700 ? "an illegal memory access was encountered" : "unknown error";
}

/* For the pretended TensorRT and for the tests. */
int shim_enqueue(void *stream, void (*work)(void *), void *argument) {
  return put(stream, (struct job){2, argument, NULL, 0, work});
}
int shim_on_device(void *at, size_t size) { return on_device(at, size); }
int shim_live(int what) { return what == 0 ? live_memory : what == 1 ? live_streams : live_events; }
