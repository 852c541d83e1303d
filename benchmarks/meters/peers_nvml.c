/* The tests' NVML of known truth, with the calls that CodeCarbon and Zeus make beside reading energy and power.
 * Zeus goes by the architecture: GPUs without a counter are Pascal (4), the others Ampere (7). */
#include "fake_nvml.c"

/* Faults are written down before it is known when the window begins. */
void peers_shift_faults(double by_s) {
    reload_from += by_s, reload_to += by_s, uninit += by_s;
    for (Gpu *g = gpus; g < gpus + num_gpus; g++) {
        g->reset += by_s;
        for (Fault *f = g->faults; f < g->faults + g->num_faults; f++) f->from += by_s, f->to += by_s;
    }
}

int nvmlDeviceGetArchitecture(Gpu *g, unsigned *architecture) { *architecture = g->counter ? 7 : 4; return check(g, 'h'); }
int nvmlDeviceGetComputeMode(Gpu *g, int *mode) { *mode = 0; return check(g, 'h'); }
int nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *mw) { *mw = 700000; return check(g, 'h'); }
int nvmlDeviceGetMemoryInfo(Gpu *g, unsigned long long *total_free_used) {
    total_free_used[0] = total_free_used[1] = 80ull << 30;
    total_free_used[2] = 0;
    return check(g, 'h');
}
int nvmlDeviceGetTemperature(Gpu *g, int sensor, unsigned *celsius) { (void)sensor; *celsius = 50; return check(g, 'h'); }
int nvmlDeviceGetUtilizationRates(Gpu *g, unsigned *gpu_memory) {
    gpu_memory[0] = gpu_memory[1] = 50;
    return check(g, 'h');
}
