#define _GNU_SOURCE /* sched_setaffinity */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

enum { MOST_ZONES = 128, TEXT = 256 };

double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int stay_on(const int *cores, size_t count)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 0; i < count; i++)
        CPU_SET((size_t)cores[i], &set);
    return !count || !sched_setaffinity(0, sizeof set, &set);
}

/* First line of a file without its end, NULL when there is none. */
static char *line_of(char text[TEXT], const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *found = fgets(text, TEXT, file);
    fclose(file);
    if (found)
        text[strcspn(text, "\n")] = '\0';
    return found;
}

static void whole_of(struct json *json, const char *key, const char *path)
{
    char text[TEXT];
    if (line_of(text, path))
        json_whole(json, key, atoll(text));
}

/* Value of the first line of /proc that starts so, NULL when there is none. */
static char *entry(char text[TEXT], const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    char *found = NULL;
    while (file && !found && fgets(text, TEXT, file)) {
        char *colon = strchr(text, ':');
        if (!strncmp(text, key, strlen(key)) && colon) {
            text[strcspn(text, "\n")] = '\0';
            found = colon + 1 + strspn(colon + 1, " \t");
        }
    }
    if (file)
        fclose(file);
    return found;
}

long long peak_bytes(void)
{
    char text[TEXT], *value = entry(text, "/proc/self/status", "VmHWM");
    return value ? atoll(value) * 1024 : 0;
}

long preemptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

static void describe_core(struct json *json, int core)
{
    char path[TEXT], text[TEXT];
    json_open(json, NULL, '{');
    json_whole(json, "core", core);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", core);
    whole_of(json, "capacity", path);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", core);
    whole_of(json, "most_khz", path);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", core);
    if (line_of(text, path))
        json_text(json, "governor", text);
    json_close(json, '}');
}

void machine_describe(struct json *json, const char *key)
{
    struct utsname name;
    cpu_set_t set;
    char text[TEXT];
    uname(&name);
    json_open(json, key, '{');
    json_text(json, "machine", name.machine);
    json_text(json, "system", name.sysname);
    json_text(json, "release", name.release);
    json_text(json, "model", line_of(text, "/proc/device-tree/model"));
    char *cpu = entry(text, "/proc/cpuinfo", "model name");
    json_text(json, "cpu", cpu ? cpu : entry(text, "/proc/cpuinfo", "CPU part"));
    char *memory = entry(text, "/proc/meminfo", "MemTotal");
    json_whole(json, "memory_bytes", memory ? atoll(memory) * 1024 : 0);
    json_open(json, "cores", '[');
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &set))
            describe_core(json, core);
    json_close(json, ']');
    json_close(json, '}');
}

static void clocks(struct json *json)
{
    char path[TEXT], key[TEXT];
    json_open(json, "khz", '{');
    for (long core = 0; core < sysconf(_SC_NPROCESSORS_CONF); core++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/cpufreq/scaling_cur_freq", core);
        snprintf(key, sizeof key, "%ld", core);
        whole_of(json, key, path);
    }
    json_close(json, '}');
}

static void temperatures(struct json *json)
{
    char path[TEXT], type[TEXT], key[2 * TEXT];
    json_open(json, "millidegrees", '{');
    for (int zone = 0; zone < MOST_ZONES; zone++) {
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/type", zone);
        if (!line_of(type, path))
            continue;
        snprintf(key, sizeof key, "%d %s", zone, type); /* several zones may share one type */
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", zone);
        whole_of(json, key, path);
    }
    json_close(json, '}');
}

void machine_condition(struct json *json, const char *key)
{
    json_open(json, key, '{');
    clocks(json);
    temperatures(json);
    json_close(json, '}');
}
