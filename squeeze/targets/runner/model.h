/* ONNX Runtime through its C API: the library is opened at run time, so that its absence is one line. */
#ifndef SQUEEZE_MODEL_H
#define SQUEEZE_MODEL_H

#include <onnxruntime_c_api.h>

#include "json.h"
#include "plan.h"

/* The oldest interface that has all we call; every later library still has it. */
enum { API_VERSION = 17 };

struct runtime {
    const OrtApi *api;
    const char *version;
    OrtEnv *environment;
    OrtSessionOptions *options;
    OrtMemoryInfo *memory;
};

struct model {
    const struct runtime *runtime;
    const struct planned_model *planned;
    OrtSession *session;
    const char **input_names; /* as the plan has them; the same for every feed */
    char **output_names;
    size_t inputs, outputs;
    OrtValue **feeds; /* `inputs` values for each feed, one feed after the other */
    OrtValue **results;
};

struct runtime runtime_open(const char *library, const struct plan *plan);

/* Open a model's file; its inputs are read by `model_read_feeds`. */
struct model model_open(const struct runtime *runtime, const struct planned_model *planned);
void model_read_feeds(struct model *model);

/* One call; returns how long it took in milliseconds. What it gave is dropped, unless the call is kept. */
double model_run(struct model *model, size_t feed);
double model_run_and_keep(struct model *model, size_t feed);

/* Write the kept outputs beside the result, describe them, and drop them. */
void model_write_outputs(struct model *model, size_t number, size_t feed, struct json *json);

#endif
