/* squeeze-runner: runs ONNX and ORT files as a plan says and writes what happened as JSON.
 *
 *     squeeze-runner describe RESULT            what this device is
 *     squeeze-runner run LIBRARY PLAN RESULT    plan.h says what a plan is; LIBRARY is ONNX Runtime's
 *
 * It ends with whoever started it: standard input stays open for as long as that one lives. It needs the
 * C library and ONNX Runtime, and no network. Paths of a plan are relative to the working folder.
 */
#define _GNU_SOURCE /* setenv, pthread_sigmask */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "json.h"
#include "machine.h"
#include "model.h"
#include "plan.h"
#include "timing.h"

enum { PATH_BYTES = 512 };

static void *end_with_parent(void *nothing)
{
    char discarded[256];
    for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);)
        got = read(STDIN_FILENO, discarded, sizeof discarded);
    _exit(STATUS_GONE);
    return nothing;
}

static void watch_parent(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_with_parent, NULL))
        fail(STATUS_PLAN, "no thread could be started");
    pthread_detach(thread);
}

/* A result appears under its name when it is complete. */
static struct json result_open(const char *path, char partial[PATH_BYTES])
{
    snprintf(partial, PATH_BYTES, "%s.partial", path);
    struct json json = {fopen(partial, "w"), 1};
    if (!json.file)
        fail(STATUS_FILE, "%s: %s", partial, strerror(errno));
    json_open(&json, NULL, '{');
    json_whole(&json, "schema", 1);
    return json;
}

static void result_close(struct json *json, const char *partial, const char *path)
{
    json_close(json, '}');
    fputc('\n', json->file);
    if (ferror(json->file) || fclose(json->file) || rename(partial, path))
        fail(STATUS_FILE, "%s: %s", path, strerror(errno));
}

static int describe(const char *path)
{
    char partial[PATH_BYTES];
    struct json json = result_open(path, partial);
    machine_describe(&json, "device");
    machine_condition(&json, "condition");
    result_close(&json, partial, path);
    return 0;
}

static struct timed load(const struct runtime *runtime, const struct planned_model *planned)
{
    double before = now_ms();
    struct timed timed = {.model = model_open(runtime, planned)};
    timed.load_ms = now_ms() - before;
    model_read_feeds(&timed.model);
    return timed;
}

/* Every feed once: the first inference, memory at its working size, and the outputs if they are wanted. */
static void run_each(struct timed *timed, size_t number, int outputs, struct json *json)
{
    json_open(json, NULL, '{');
    json_open(json, "outputs", '[');
    for (size_t feed = 0; feed < timed->model.planned->count; feed++) {
        double taken = outputs ? model_run_and_keep(&timed->model, feed) : model_run(&timed->model, feed);
        if (!feed)
            timed->first_ms = taken;
        if (outputs)
            model_write_outputs(&timed->model, number, feed, json);
    }
    json_close(json, ']');
    json_close(json, '}');
}

static int run(const char *library, const char *plan_path, const char *path)
{
    char partial[PATH_BYTES];
    struct plan plan = plan_read(plan_path);
    alarm(plan.limit_s); /* also when nobody is left to stop us */
    if (!stay_on(plan.cores, plan.core_count))
        fail(STATUS_CORES, "the cores asked for cannot be had: %s", strerror(errno));
    struct runtime runtime = runtime_open(library, &plan);
    struct json json = result_open(path, partial);
    struct timed *models = reserve(plan.model_count, sizeof *models);
    json_text(&json, "onnxruntime", runtime.version);
    json_whole(&json, "baseline_bytes", peak_bytes());
    for (size_t m = 0; m < plan.model_count; m++)
        models[m] = load(&runtime, &plan.models[m]);
    json_open(&json, "golden", '[');
    for (size_t m = 0; m < plan.model_count; m++)
        run_each(&models[m], m, plan.outputs, &json);
    json_close(&json, ']');
    json_whole(&json, "peak_bytes", peak_bytes());
    if (plan.min_runs)
        timing_warm_up(models, &plan);
    machine_condition(&json, "before"); /* under load, as the reading afterwards */
    if (plan.min_runs)
        timing_run(models, &plan);
    machine_condition(&json, "after");
    json_open(&json, "models", '[');
    for (size_t m = 0; m < plan.model_count; m++) {
        json_open(&json, NULL, '{');
        timing_describe(&models[m], &json);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    result_close(&json, partial, path);
    return 0; /* sessions end with the process: nobody waits for memory to be given back */
}

int main(int count, char **words)
{
    /* ONNX Runtime's own builds send telemetry from 1.30 on unless this is set before they are loaded. */
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    if (count == 3 && !strcmp(words[1], "describe"))
        return describe(words[2]);
    if (count == 5 && !strcmp(words[1], "run")) {
        watch_parent();
        return run(words[2], words[3], words[4]);
    }
    fail(STATUS_PLAN, "usage: squeeze-runner describe RESULT | run LIBRARY PLAN RESULT");
}
