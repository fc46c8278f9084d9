#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "plan.h"

enum { LINE_BYTES = 4096 };

/* Where we are, for messages. */
struct place {
    const char *path;
    int line;
};

static void refuse(const struct place *place, const char *what)
{
    fail(STATUS_PLAN, "%s:%d: %s", place->path, place->line, what);
}

static char *copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(reserve(bytes, 1), text, bytes);
}

/* The next word of a line; the rest begins behind the one space after it. */
static char *word(char **rest, const struct place *place)
{
    char *start = *rest;
    if (!*start || *start == ' ')
        refuse(place, "a value is missing");
    char *end = strchr(start, ' ');
    *rest = end ? end + 1 : start + strlen(start);
    if (end)
        *end = '\0';
    return start;
}

static double number(char **rest, const struct place *place)
{
    char *text = word(rest, place), *end;
    double value = strtod(text, &end);
    if (*end || !(value >= 0 && value < 1e9))
        refuse(place, "not a number from 0 to 1e9");
    return value;
}

/* One more place at the end of an array. */
static void *grow(void *array, size_t count, size_t size)
{
    void *grown = realloc(array, (count + 1) * size);
    if (!grown)
        fail(STATUS_PLAN, "out of memory while reading the plan");
    memset((char *)grown + count * size, 0, size);
    return grown;
}

static void read_cores(struct plan *plan, char **rest, const struct place *place)
{
    for (char *text = word(rest, place); *text;) {
        char *end;
        long core = strtol(text, &end, 10);
        if (end == text || core < 0 || (*end && *end != ',') || plan->core_count == MOST_CORES)
            refuse(place, "not a list of cores such as 4,5");
        plan->cores[plan->core_count++] = (int)core;
        text = *end ? end + 1 : end;
    }
}

static void read_config(struct plan *plan, char **rest, const struct place *place)
{
    if (plan->config_count == MOST_CONFIG)
        refuse(place, "too many settings");
    plan->config[plan->config_count].key = copy(word(rest, place));
    plan->config[plan->config_count].value = copy(*rest);
    plan->config_count++;
}

static void read_sizes(struct input *input, char *text, const struct place *place)
{
    if (!strcmp(text, "scalar"))
        return;
    while (*text) {
        char *end;
        long long size = strtoll(text, &end, 10);
        if (end == text || size < 0 || (*end && *end != 'x') || input->dimensions == MOST_DIMENSIONS)
            refuse(place, "not sizes such as 1x27");
        input->sizes[input->dimensions++] = size;
        text = *end ? end + 1 : end;
    }
}

static void read_model(struct plan *plan, char **rest, const struct place *place)
{
    plan->models = grow(plan->models, plan->model_count, sizeof *plan->models);
    if (!**rest)
        refuse(place, "a model needs its file");
    plan->models[plan->model_count++].file = copy(*rest);
}

static struct planned_model *last_model(struct plan *plan, const struct place *place)
{
    if (!plan->model_count)
        refuse(place, "no model before it");
    return &plan->models[plan->model_count - 1];
}

static void read_feed(struct plan *plan, const struct place *place)
{
    struct planned_model *model = last_model(plan, place);
    model->feeds = grow(model->feeds, model->count, sizeof *model->feeds);
    model->count++;
}

static void read_input(struct plan *plan, char **rest, const struct place *place)
{
    struct planned_model *model = last_model(plan, place);
    if (!model->count)
        refuse(place, "no feed before it");
    struct feed *feed = &model->feeds[model->count - 1];
    feed->inputs = grow(feed->inputs, feed->count, sizeof *feed->inputs);
    struct input *input = &feed->inputs[feed->count++];
    input->type = copy(word(rest, place));
    read_sizes(input, word(rest, place), place);
    input->file = copy(word(rest, place));
    input->name = copy(*rest); /* the last value, because a name may hold spaces */
}

static void read_line(struct plan *plan, char *line, const struct place *place)
{
    char *rest = line, *key = word(&rest, place);
    if (!strcmp(key, "model"))
        read_model(plan, &rest, place);
    else if (!strcmp(key, "feed"))
        read_feed(plan, place);
    else if (!strcmp(key, "input"))
        read_input(plan, &rest, place);
    else if (!strcmp(key, "cores"))
        read_cores(plan, &rest, place);
    else if (!strcmp(key, "config"))
        read_config(plan, &rest, place);
    else if (!strcmp(key, "threads"))
        plan->threads = (int)number(&rest, place);
    else if (!strcmp(key, "outputs"))
        plan->outputs = number(&rest, place) > 0;
    else if (!strcmp(key, "limit_s"))
        plan->limit_s = (unsigned)number(&rest, place);
    else if (!strcmp(key, "warmup_s"))
        plan->warmup_s = number(&rest, place);
    else if (!strcmp(key, "min_runs"))
        plan->min_runs = (size_t)number(&rest, place);
    else if (!strcmp(key, "min_s"))
        plan->min_s = number(&rest, place);
    else if (!strcmp(key, "max_s"))
        plan->max_s = number(&rest, place);
    else
        refuse(place, "unknown word");
}

static void check(const struct plan *plan, const struct place *place)
{
    if (!plan->model_count)
        refuse(place, "no model");
    for (size_t m = 0; m < plan->model_count; m++)
        if (!plan->models[m].count || plan->models[m].count != plan->models[0].count)
            refuse(place, "every model needs the same number of feeds, at least one");
}

struct plan plan_read(const char *path)
{
    struct plan plan = {.threads = 1, .limit_s = 600};
    struct place place = {path, 0};
    char line[LINE_BYTES];
    FILE *file = fopen(path, "r");
    if (!file)
        fail(STATUS_PLAN, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        place.line++;
        size_t length = strlen(line);
        if (!length || line[length - 1] != '\n')
            refuse(&place, "line too long, or the file was cut");
        line[length - 1] = '\0';
        read_line(&plan, line, &place);
    }
    fclose(file);
    check(&plan, &place);
    return plan;
}
