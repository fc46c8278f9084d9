#include "timing.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "machine.h"

enum { LEAST_WARMUPS = 3, MOST_PASSES = 64 };

static double *append(double *list, size_t *count, double value)
{
    /* Room doubles at each power of two, so that no call is followed by a long copy. */
    if (!(*count & (*count - 1)) || !list) {
        list = realloc(list, (*count ? 2 * *count : 1) * sizeof *list);
        if (!list)
            fail(STATUS_MODEL, "out of memory");
    }
    list[(*count)++] = value;
    return list;
}

static int ascending(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Median of the later half of the warm-up: what a call usually takes. */
static double usual_ms(const struct timed *timed)
{
    size_t count = timed->warmups - timed->warmups / 2;
    double *sorted = reserve(count, sizeof *sorted);
    memcpy(sorted, timed->warmup_ms + timed->warmups / 2, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    double median = sorted[count / 2];
    free(sorted);
    return median;
}

static void warm_up_one(struct timed *timed, double seconds)
{
    double end = now_ms() + seconds * 1e3;
    while (timed->warmups < LEAST_WARMUPS || now_ms() < end) {
        double taken = model_run(&timed->model, timed->warmups % timed->model.planned->count);
        timed->warmup_ms = append(timed->warmup_ms, &timed->warmups, taken);
    }
}

static void share_time(struct timed *models, size_t count)
{
    double slowest = 0;
    for (size_t m = 0; m < count; m++)
        if (usual_ms(&models[m]) > slowest)
            slowest = usual_ms(&models[m]);
    for (size_t m = 0; m < count; m++) {
        double passes = slowest / usual_ms(&models[m]) + 0.5;
        models[m].passes = passes < 1 ? 1 : passes > MOST_PASSES ? MOST_PASSES : (size_t)passes;
    }
}

static void run_block(struct timed *timed)
{
    size_t feeds = timed->model.planned->count;
    model_run(&timed->model, feeds - 1); /* not counted: another model's weights fill the caches */
    long before = preemptions();
    for (size_t call = 0; call < timed->passes * feeds; call++) {
        double taken = model_run(&timed->model, call % feeds);
        timed->samples_ms = append(timed->samples_ms, &timed->samples, taken);
        timed->total_ms += taken;
    }
    timed->preemptions += preemptions() - before;
}

static int enough(const struct timed *models, const struct plan *plan)
{
    for (size_t m = 0; m < plan->model_count; m++)
        if (models[m].samples < plan->min_runs || models[m].total_ms < plan->min_s * 1e3)
            return 0;
    return 1;
}

void timing_warm_up(struct timed *models, const struct plan *plan)
{
    for (size_t m = 0; m < plan->model_count; m++)
        warm_up_one(&models[m], plan->warmup_s);
    share_time(models, plan->model_count);
}

void timing_run(struct timed *models, const struct plan *plan)
{
    size_t count = plan->model_count;
    double end = now_ms() + plan->max_s * 1e3;
    for (size_t block = 0; !block || (!enough(models, plan) && now_ms() < end); block++)
        for (size_t turn = 0; turn < count; turn++)
            run_block(&models[(block + turn) % count]); /* nobody is always the first */
}

static void numbers(struct json *json, const char *key, const double *list, size_t count)
{
    json_open(json, key, '[');
    for (size_t i = 0; i < count; i++)
        json_number(json, NULL, list[i]);
    json_close(json, ']');
}

void timing_describe(const struct timed *timed, struct json *json)
{
    json_number(json, "load_ms", timed->load_ms);
    json_number(json, "first_ms", timed->first_ms);
    json_whole(json, "passes", (long long)timed->passes);
    json_whole(json, "preemptions", timed->preemptions);
    numbers(json, "warmup_ms", timed->warmup_ms, timed->warmups);
    numbers(json, "samples_ms", timed->samples_ms, timed->samples);
}
