/* A stand-in for libnvidia-ml.so.1: one V100 that is hot. Declarations as in nvml.h. */
#include <stddef.h>
typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
static int initialised;
static char card;
nvmlReturn_t nvmlInit_v2(void) { initialised = 1; return 0; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (!initialised) return 1;      /* NVML_ERROR_UNINITIALIZED */
    if (index > 0) return 2;         /* NVML_ERROR_INVALID_ARGUMENT */
    *device = (nvmlDevice_t)&card;
    return 0;
}
static int wrong(nvmlDevice_t device) { return device != (nvmlDevice_t)&card; }
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius) {
    if (wrong(device) || sensor != 0) return 2;
    *celsius = 84;
    return 0;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int type, unsigned int *mhz) {
    if (wrong(device)) return 2;
    *mhz = type == 1 ? 1380 : 877;   /* NVML_CLOCK_SM; the memory's */
    return 0;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    if (wrong(device)) return 2;
    *milliwatts = 249500;
    return 0;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *mj) {
    (void)device; (void)mj;
    return 3;                        /* NVML_ERROR_NOT_SUPPORTED */
}
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device,
                                                       unsigned long long *reasons) {
    if (wrong(device)) return 2;
    *reasons = 0x1 | 0x2 | 0x4 | 0x40; /* idle, applications' clocks, power cap, hw thermal */
    return 0;
}
