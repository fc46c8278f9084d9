#include "model.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "machine.h"

/* The types that a raw file can hold, in ONNX Runtime's numbers and in numpy's words. */
static const struct kind {
    ONNXTensorElementDataType number;
    const char *word;
    size_t bytes;
} KINDS[] = {
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "float32", 4},   {ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, "float64", 8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, "float16", 2}, {ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, "bool", 1},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, "int8", 1},       {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, "uint8", 1},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, "int16", 2},     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, "uint16", 2},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, "int32", 4},     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, "uint32", 4},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "int64", 8},     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, "uint64", 8},
};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS, NAME_BYTES = 96 };

static void must(const struct runtime *runtime, OrtStatus *status, const char *what)
{
    if (status)
        fail(STATUS_MODEL, "%s: %s", what, runtime->api->GetErrorMessage(status));
}

static const OrtApiBase *library_base(const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        fail(STATUS_LIBRARY, "%s", dlerror());
    void *symbol = dlsym(handle, "OrtGetApiBase");
    if (!symbol)
        fail(STATUS_LIBRARY, "%s: not ONNX Runtime's library", library);
    const OrtApiBase *(*base)(void);
    memcpy(&base, &symbol, sizeof base); /* ISO C has no cast from an object to a function */
    return base();
}

struct runtime runtime_open(const char *library, const struct plan *plan)
{
    const OrtApiBase *base = library_base(library);
    struct runtime runtime = {.api = base->GetApi(API_VERSION), .version = base->GetVersionString()};
    if (!runtime.api)
        fail(STATUS_LIBRARY, "ONNX Runtime %s is older than interface %d", runtime.version, API_VERSION);
    const OrtApi *api = runtime.api;
    must(&runtime, api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "squeeze", &runtime.environment), "start");
    must(&runtime, api->CreateSessionOptions(&runtime.options), "options");
    must(&runtime, api->SetIntraOpNumThreads(runtime.options, plan->threads), "threads");
    must(&runtime, api->SetInterOpNumThreads(runtime.options, 1), "threads");
    for (size_t i = 0; i < plan->config_count; i++)
        must(&runtime,
             api->AddSessionConfigEntry(runtime.options, plan->config[i].key, plan->config[i].value),
             plan->config[i].key);
    must(&runtime, api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &runtime.memory), "memory");
    return runtime;
}

struct model model_open(const struct runtime *runtime, const struct planned_model *planned)
{
    const OrtApi *api = runtime->api;
    struct model model = {.runtime = runtime, .planned = planned, .inputs = planned->feeds[0].count};
    must(runtime, api->CreateSession(runtime->environment, planned->file, runtime->options, &model.session),
         planned->file);
    OrtAllocator *allocator;
    must(runtime, api->GetAllocatorWithDefaultOptions(&allocator), "allocator");
    must(runtime, api->SessionGetOutputCount(model.session, &model.outputs), planned->file);
    model.output_names = reserve(model.outputs, sizeof *model.output_names);
    for (size_t i = 0; i < model.outputs; i++)
        must(runtime, api->SessionGetOutputName(model.session, i, allocator, &model.output_names[i]),
             planned->file);
    model.input_names = reserve(model.inputs, sizeof *model.input_names);
    for (size_t i = 0; i < model.inputs; i++)
        model.input_names[i] = planned->feeds[0].inputs[i].name;
    model.feeds = reserve(planned->count * model.inputs, sizeof *model.feeds);
    model.results = reserve(model.outputs, sizeof *model.results);
    return model;
}

static const struct kind *kind_of_word(const char *word)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (!strcmp(KINDS[i].word, word))
            return &KINDS[i];
    fail(STATUS_PLAN, "%s: no type that a raw file can hold", word);
}

static const struct kind *kind_of_number(ONNXTensorElementDataType number)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (KINDS[i].number == number)
            return &KINDS[i];
    fail(STATUS_MODEL, "an output is of type %d, which no raw file can hold", (int)number);
}

static void *read_raw(const char *path, size_t bytes)
{
    void *memory = reserve(bytes, 1);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(STATUS_FILE, "%s: %s", path, strerror(errno));
    if (fread(memory, 1, bytes, file) != bytes || fgetc(file) != EOF)
        fail(STATUS_FILE, "%s: is not of %zu bytes", path, bytes);
    fclose(file);
    return memory;
}

static OrtValue *read_input(const struct runtime *runtime, const struct input *input)
{
    const struct kind *kind = kind_of_word(input->type);
    size_t bytes = kind->bytes;
    for (size_t i = 0; i < input->dimensions; i++)
        bytes *= (size_t)input->sizes[i];
    OrtValue *value = NULL;
    must(runtime,
         runtime->api->CreateTensorWithDataAsOrtValue(runtime->memory, read_raw(input->file, bytes), bytes,
                                                      input->sizes, input->dimensions, kind->number, &value),
         input->name);
    return value;
}

void model_read_feeds(struct model *model)
{
    for (size_t f = 0; f < model->planned->count; f++) {
        const struct feed *feed = &model->planned->feeds[f];
        if (feed->count != model->inputs)
            fail(STATUS_PLAN, "%s: feed %zu has %zu inputs, the first has %zu", model->planned->file, f,
                 feed->count, model->inputs);
        for (size_t i = 0; i < model->inputs; i++)
            model->feeds[f * model->inputs + i] = read_input(model->runtime, &feed->inputs[i]);
    }
}

static void drop_results(struct model *model)
{
    for (size_t i = 0; i < model->outputs; i++) {
        model->runtime->api->ReleaseValue(model->results[i]);
        model->results[i] = NULL;
    }
}

double model_run_and_keep(struct model *model, size_t feed)
{
    const OrtValue *const *values = (const OrtValue *const *)(model->feeds + feed * model->inputs);
    double before = now_ms();
    OrtStatus *status =
        model->runtime->api->Run(model->session, NULL, model->input_names, values, model->inputs,
                                 (const char *const *)model->output_names, model->outputs, model->results);
    double taken = now_ms() - before;
    must(model->runtime, status, model->planned->file);
    return taken;
}

double model_run(struct model *model, size_t feed)
{
    double taken = model_run_and_keep(model, feed);
    drop_results(model);
    return taken;
}

static void write_raw(const char *path, const void *memory, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(memory, 1, bytes, file) != bytes || fclose(file))
        fail(STATUS_FILE, "%s: %s", path, strerror(errno));
}

static void write_output(struct model *model, size_t output, const char *path, struct json *json)
{
    const OrtApi *api = model->runtime->api;
    OrtTensorTypeAndShapeInfo *info;
    ONNXTensorElementDataType number;
    size_t count, dimensions;
    int64_t sizes[MOST_DIMENSIONS];
    void *memory;
    const char *name = model->output_names[output];
    must(model->runtime, api->GetTensorTypeAndShape(model->results[output], &info), name);
    must(model->runtime, api->GetTensorElementType(info, &number), name);
    must(model->runtime, api->GetTensorShapeElementCount(info, &count), name);
    must(model->runtime, api->GetDimensionsCount(info, &dimensions), name);
    if (dimensions > MOST_DIMENSIONS)
        fail(STATUS_MODEL, "%s: has %zu dimensions", name, dimensions);
    must(model->runtime, api->GetDimensions(info, sizes, dimensions), name);
    must(model->runtime, api->GetTensorMutableData(model->results[output], &memory), name);
    write_raw(path, memory, count * kind_of_number(number)->bytes);
    json_open(json, NULL, '{');
    json_text(json, "name", name);
    json_text(json, "type", kind_of_number(number)->word);
    json_open(json, "sizes", '[');
    for (size_t i = 0; i < dimensions; i++)
        json_whole(json, NULL, sizes[i]);
    json_close(json, ']');
    json_text(json, "file", path);
    json_close(json, '}');
    api->ReleaseTensorTypeAndShapeInfo(info);
}

void model_write_outputs(struct model *model, size_t number, size_t feed, struct json *json)
{
    char path[NAME_BYTES];
    json_open(json, NULL, '[');
    for (size_t i = 0; i < model->outputs; i++) {
        snprintf(path, sizeof path, "%zu.%zu.%zu.bin", number, feed, i);
        write_output(model, i, path, json);
    }
    json_close(json, ']');
    drop_results(model);
}
