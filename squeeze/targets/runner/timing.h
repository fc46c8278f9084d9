/* Timing of several models in turns, block by block, so that what slows a while slows all of them. */
#ifndef SQUEEZE_TIMING_H
#define SQUEEZE_TIMING_H

#include "json.h"
#include "model.h"
#include "plan.h"

struct timed {
    struct model model;
    double load_ms, first_ms;
    double *warmup_ms;
    size_t warmups;
    size_t passes; /* times a block goes through the feeds: a fast model's blocks last as long as a slow one's */
    double *samples_ms;
    size_t samples;
    double total_ms;
    long preemptions;
};

/* Run every model until the machine is up to speed. */
void timing_warm_up(struct timed *models, const struct plan *plan);

/* Time until every model has its runs and its seconds, or until the plan's time is over. */
void timing_run(struct timed *models, const struct plan *plan);

void timing_describe(const struct timed *model, struct json *json);

#endif
