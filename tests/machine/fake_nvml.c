/* NVML's functions that deepspeech_training calls, for a machine that $FAKE_GPUS describes: tests/machine/test_resources.py. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct {
    char busIdLegacy[16];
    unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} PciInfo;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
/* A number that is set for one GPU alone: FAKE_USED_1=23. */
static int number_of(void *device, const char *name, int otherwise) {
    char full[64];
    snprintf(full, sizeof full, "%s_%ld", name, (long)device - 1);
    return number(full, number(name, otherwise));
}
static long index_of(void *device) { return (long)device - 1; }

int nvmlInitWithFlags(unsigned int flags) { return number("FAKE_NVML_ERROR", 0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { return "an error of the fake"; }
int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    const char *given = getenv("FAKE_DRIVER");
    snprintf(version, length, "%s", given ? given : "570.86.15");
    return 0;
}
int nvmlSystemGetCudaDriverVersion(int *version) { *version = number("FAKE_CUDA", 12080); return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = number("FAKE_GPUS", 0); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    snprintf(name, length, "NVIDIA Fake %ld", index_of(device));
    return 0;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "GPU-0000000%ld", index_of(device));
    return 0;
}
/* The first that NVML names has the higher address. */
int nvmlDeviceGetPciInfo_v3(void *device, PciInfo *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->busId, sizeof info->busId, "00000000:%02lX:00.0", 0x41 - index_of(device) * 0x10);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = 24ULL << 30;
    memory->used = (unsigned long long)number_of(device, "FAKE_USED", index_of(device) + 1) << 30;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = number_of(device, "FAKE_CAPABILITY", 89) / 10;
    *minor = number_of(device, "FAKE_CAPABILITY", 89) % 10;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *rates) {
    rates->gpu = number("FAKE_BUSY", 42);
    rates->memory = 7;
    return number("FAKE_MIG", 0) ? 3 /* not supported */ : 0;
}
int nvmlDeviceGetTemperature(void *device, unsigned int sensor, unsigned int *celsius) { *celsius = 61; return 0; }
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
    *milliwatts = 231500;
    return number("FAKE_MIG", 0) ? 3 /* not supported */ : 0;
}
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned int *milliwatts) { *milliwatts = 450000; return 0; }
