/* What to do, read from a text file with one word and its values a line. Values under `model` and `feed`
 * belong to the last of those:
 *
 *     threads 1                           inside one operator
 *     cores 4,5                           to stay on; none: wherever the system puts us
 *     limit_s 120                         the process ends itself after so many seconds
 *     warmup_s 0.5                        least time of a model's warm-up
 *     min_runs 200                        timed calls of a model; 0: load, run each feed once, do not time
 *     min_s 3                             timed seconds of a model
 *     max_s 60                            most seconds for all timing
 *     outputs 1                           write what each feed gives, raw, as MODEL.FEED.OUTPUT.bin
 *     config session.some_key 1           a setting of ONNX Runtime's sessions
 *     model m0/model.onnx
 *     feed
 *     input int64 1x27 0.0.bin input_ids  type, sizes (`scalar` for none), raw little-endian file, name
 */
#ifndef SQUEEZE_PLAN_H
#define SQUEEZE_PLAN_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_DIMENSIONS = 16, MOST_CORES = 64, MOST_CONFIG = 16 };

struct input {
    char *name;
    char *type;
    char *file;
    int64_t sizes[MOST_DIMENSIONS];
    size_t dimensions;
};

struct feed {
    struct input *inputs;
    size_t count;
};

struct planned_model {
    char *file;
    struct feed *feeds;
    size_t count;
};

struct plan {
    int threads;
    int cores[MOST_CORES];
    size_t core_count;
    unsigned limit_s;
    double warmup_s;
    size_t min_runs;
    double min_s;
    double max_s;
    int outputs;
    struct { char *key, *value; } config[MOST_CONFIG];
    size_t config_count;
    struct planned_model *models;
    size_t model_count;
};

/* Read a plan; what cannot be read ends the program with the number of the line. */
struct plan plan_read(const char *path);

#endif
