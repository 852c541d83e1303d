/* An NVML whose truth is known: GPUs with analytic power, a ticking energy counter and injected faults.
 *
 * The file that FAKE_NVML names has one line per GPU, of key=value fields, and lines for the driver:
 *   gpu uuid=GPU-0 wave=square low=100 high=400 period=2 duty=0.2 tick=0.1 offset=0.03 sensor=a100 counter=1 power=1
 *       mig=0 reset=12.5 process=1234:30@10-20 fault=15@10-20 fault=3@5-9@counter
 *   driver reload=10-15      9 (not loaded) meanwhile; then 1 until nvmlInit; counters begin anew at the end
 *   driver uninit=10         1 until nvmlInit
 *   driver init=12           nvmlInit fails with this code
 * wave: constant (low), square (high first), ramp (low to high, again every period), steps (levels=1,2,3 of period each).
 * process: PID:PERCENT@FROM-TO, SM time by process; without any, the GPU does not support the question.
 * sensor: power is instantaneous (ideal), or the mean over the last 25 ms of every 100 ms (a100, h100; h100 averages
 * nvmlDeviceGetPowerUsage over a second). fault: CODE@FROM-TO[@counter|power].
 * Time is CLOCK_MONOTONIC less FAKE_NVML_ORIGIN, or what fake_nvml_set_time said last. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NOT_LOADED = 9, MAX_GPUS = 16, MAX_FAULTS = 8 };

typedef struct { int code; double from, to; char what; } Fault;
typedef struct { unsigned pid, percent; double from, to; } Process;
typedef struct {
    char uuid[80], wave[16], sensor[16];
    double low, high, period, duty, tick, offset, reset, levels[256];
    int num_levels, counter, power, mig, num_faults;
    Fault faults[MAX_FAULTS];
    int num_processes;
    Process processes[MAX_FAULTS];
} Gpu;

static Gpu gpus[MAX_GPUS];
static int num_gpus, init_code, initialised;
static double init_s, reload_from = INFINITY, reload_to = INFINITY, uninit = INFINITY, origin, set_time = NAN;

void fake_nvml_set_time(double time_s) { set_time = time_s; }

static double now(void) {
    struct timespec t;
    if (!isnan(set_time)) return set_time;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9 - origin;
}

static void parse_gpu(Gpu *g, const char *key, char *value) {
    Fault f = {0};
    Process p = {0};
    if (!strcmp(key, "uuid")) snprintf(g->uuid, sizeof g->uuid, "%s", value);
    else if (!strcmp(key, "wave")) snprintf(g->wave, sizeof g->wave, "%s", value);
    else if (!strcmp(key, "sensor")) snprintf(g->sensor, sizeof g->sensor, "%s", value);
    else if (!strcmp(key, "low")) g->low = atof(value);
    else if (!strcmp(key, "high")) g->high = atof(value);
    else if (!strcmp(key, "period")) g->period = atof(value);
    else if (!strcmp(key, "duty")) g->duty = atof(value);
    else if (!strcmp(key, "tick")) g->tick = atof(value);
    else if (!strcmp(key, "offset")) g->offset = atof(value);
    else if (!strcmp(key, "reset")) g->reset = atof(value);
    else if (!strcmp(key, "counter")) g->counter = atoi(value);
    else if (!strcmp(key, "power")) g->power = atoi(value);
    else if (!strcmp(key, "mig")) g->mig = atoi(value);
    else if (!strcmp(key, "levels"))
        for (char *end = value; *end && g->num_levels < 256; value = end + 1) {
            g->levels[g->num_levels++] = strtod(value, &end);
        }
    else if (!strcmp(key, "fault") && sscanf(value, "%d@%lf-%lf@%c", &f.code, &f.from, &f.to, &f.what) >= 3)
        g->faults[g->num_faults++] = f;
    else if (!strcmp(key, "process") && sscanf(value, "%u:%u@%lf-%lf", &p.pid, &p.percent, &p.from, &p.to) == 4)
        g->processes[g->num_processes++] = p;
}

/* Read anew when the library is loaded, and by tests that load it once. */
void fake_nvml_load(const char *path) {
    char line[4096];
    FILE *file = fopen(path, "r");
    memset(gpus, 0, sizeof gpus);
    num_gpus = init_code = initialised = 0;
    reload_from = reload_to = uninit = INFINITY;
    while (file && fgets(line, sizeof line, file)) {
        char *rest, *word = strtok_r(line, " \n", &rest);
        if (!word) continue;
        int driver = !strcmp(word, "driver");
        Gpu *g = &gpus[num_gpus];
        if (!driver) {
            *g = (Gpu){.period = 1, .duty = 0.5, .tick = 0.1, .reset = INFINITY, .counter = 1, .power = 1};
            num_gpus++;
        }
        while ((word = strtok_r(NULL, " \n", &rest))) {
            char *value = strchr(word, '=');
            *value++ = 0;
            if (!driver) parse_gpu(g, word, value);
            else if (!strcmp(word, "init")) init_code = atoi(value);
            else if (!strcmp(word, "uninit")) uninit = atof(value);
            else if (!strcmp(word, "reload")) sscanf(value, "%lf-%lf", &reload_from, &reload_to);
        }
    }
    if (file) fclose(file);
}

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("FAKE_NVML"), *begin = getenv("FAKE_NVML_ORIGIN");
    origin = begin ? atof(begin) : 0;
    if (path) fake_nvml_load(path);
}

static double power_at(const Gpu *g, double t) {
    double phase = t / g->period - floor(t / g->period);
    if (!strcmp(g->wave, "square")) return phase < g->duty ? g->high : g->low;
    if (!strcmp(g->wave, "ramp")) return g->low + (g->high - g->low) * phase;
    if (!strcmp(g->wave, "steps")) return g->levels[(long)floor(t / g->period) % g->num_levels];
    return g->low;
}

/* Joules from 0 to t. */
static double energy_at(const Gpu *g, double t) {
    double n = floor(t / g->period), x = t - n * g->period, p = g->period, sum = 0;
    if (!strcmp(g->wave, "square")) {
        double on = g->duty * p;
        return n * (g->high * on + g->low * (p - on)) + (x < on ? g->high * x : g->high * on + g->low * (x - on));
    }
    if (!strcmp(g->wave, "ramp"))
        return n * p * (g->low + g->high) / 2 + g->low * x + (g->high - g->low) * x * x / (2 * p);
    if (!strcmp(g->wave, "steps")) {
        for (int i = 0; i < g->num_levels; i++) sum += g->levels[i] * p;
        double energy = floor(n / g->num_levels) * sum;
        for (int i = 0; i < (long)n % g->num_levels; i++) energy += g->levels[i] * p;
        return energy + power_at(g, t) * x;
    }
    return g->low * t;
}

static double mean_power(const Gpu *g, double from, double to) {
    return (energy_at(g, to) - energy_at(g, from)) / (to - from);
}

static double latest(const Gpu *g, double tick, double t) {
    return floor((t - g->offset) / tick) * tick + g->offset;
}

static int session(void) {
    double t = now();
    if (t >= reload_from && t < reload_to) { initialised = 0; return NOT_LOADED; }
    if ((init_s < reload_to && t >= reload_to) || (init_s < uninit && t >= uninit)) initialised = 0;
    return initialised ? OK : UNINITIALIZED;
}

static int check(const Gpu *g, char what) {
    int code = session();
    for (int i = 0; i < g->num_faults && !code; i++) {
        const Fault *f = &g->faults[i];
        if (now() >= f->from && now() < f->to && (!f->what || f->what == what)) code = f->code;
    }
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (init_code) return init_code;
    if (now() >= reload_from && now() < reload_to) return NOT_LOADED;
    initialised = 1;
    init_s = now();
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { initialised = 0; return OK; }
const char *nvmlErrorString(int code) { (void)code; return "injected"; }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = num_gpus; return session(); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **handle) {
    if (index >= (unsigned)num_gpus) return NOT_FOUND;
    *handle = &gpus[index];
    return check(*handle, 'h');
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **handle) {
    for (int i = 0; i < num_gpus; i++)
        if (!strcmp(gpus[i].uuid, uuid)) { *handle = &gpus[i]; return check(*handle, 'h'); }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(Gpu *g, char *out, unsigned size) { snprintf(out, size, "%s", g->uuid); return check(g, 'h'); }
int nvmlDeviceGetName(Gpu *g, char *out, unsigned size) { snprintf(out, size, "Fake %s", g->sensor); return check(g, 'h'); }

/* MIG instances repeat their board's counter; like NVML, only these functions name them. */
int nvmlDeviceGetMigMode(Gpu *g, unsigned *current, unsigned *pending) { *current = *pending = g->mig > 0; return check(g, 'h'); }
int nvmlDeviceGetMaxMigDeviceCount(Gpu *g, unsigned *count) { *count = g->mig; return check(g, 'h'); }
int nvmlDeviceGetMigDeviceHandleByIndex(Gpu *g, unsigned index, Gpu **instance) {
    if (index >= (unsigned)g->mig) return NOT_FOUND;
    *instance = g;
    return check(g, 'h');
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *g, unsigned long long *mj) {
    int code = check(g, 'c');
    if (code) return code;
    if (!g->counter) return NOT_SUPPORTED;
    double t = latest(g, g->tick, now()), zero = 0;
    if (now() >= reload_to) zero = reload_to;
    if (now() >= g->reset) zero = g->reset;
    *mj = (unsigned long long)fmax(0, (energy_at(g, fmax(t, zero)) - energy_at(g, zero)) * 1000);
    return OK;
}

static double sensed(const Gpu *g) {
    if (!strcmp(g->sensor, "ideal")) return power_at(g, now());
    double t = latest(g, 0.1, now());
    return mean_power(g, t - 0.025, t);
}
int nvmlDeviceGetPowerUsage(Gpu *g, unsigned *mw) {
    int code = check(g, 'p');
    if (code) return code;
    if (!g->power) return NOT_SUPPORTED;
    *mw = (unsigned)(1000 * (strcmp(g->sensor, "h100") ? sensed(g) : mean_power(g, now() - 1, now())));
    return OK;
}

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency;
    int type, code;
    union { double d; unsigned u; unsigned long long ull; } value;
} FieldValue;

int nvmlDeviceGetFieldValues(Gpu *g, int count, FieldValue *values) {
    int code = session();
    for (int i = 0; i < count && !code; i++) {
        int known = values[i].field == 186 && g->power && strcmp(g->sensor, "a100");
        if (values[i].field == 83) {
            values[i].code = nvmlDeviceGetTotalEnergyConsumption(g, &values[i].value.ull);
            values[i].type = 3; /* unsigned long long */
            continue;
        }
        values[i].code = known ? check(g, 'p') : NOT_SUPPORTED;
        values[i].type = 1; /* unsigned int: the upper half of the union is not touched */
        if (known) values[i].value.u = (unsigned)(1000 * sensed(g));
    }
    return code;
}

/* Samples of every sixth of a second since a time of the clock that this library shares with its caller. */
typedef struct {
    unsigned pid;
    unsigned long long timestamp;
    unsigned sm, memory, encoder, decoder;
} ProcessSample;
int nvmlDeviceGetProcessUtilization(Gpu *g, ProcessSample *samples, unsigned *count, unsigned long long since_us) {
    unsigned n = 0, size = *count;
    int code = check(g, 'u');
    if (code) return code;
    if (!g->num_processes) return NOT_SUPPORTED;
    for (double t = ceil(since_us / 1e6 * 6) / 6; t <= now(); t += 1.0 / 6)
        for (int i = 0; i < g->num_processes; i++) {
            const Process *p = &g->processes[i];
            if (t < p->from || t >= p->to) continue;
            if (samples && n < size) samples[n] = (ProcessSample){p->pid, (unsigned long long)(t * 1e6), p->percent};
            n++;
        }
    *count = n;
    return !n ? NOT_FOUND : samples ? OK : INSUFFICIENT_SIZE;
}
