/* The machine below us: cores, clocks, temperatures, memory, as Linux tells them in /proc and /sys. */
#ifndef SQUEEZE_MACHINE_H
#define SQUEEZE_MACHINE_H

#include <stddef.h>

#include "json.h"

/* Milliseconds of a clock that nobody sets. */
double now_ms(void);

/* Stay on these cores; returns 0 when the system does not allow it. */
int stay_on(const int *cores, size_t count);

/* Peak resident memory of this process so far, in bytes; 0 where the system does not tell. */
long long peak_bytes(void);

/* How often the system took a core away from this process. */
long preemptions(void);

/* What the device is: one object. */
void machine_describe(struct json *json, const char *key);

/* Clocks in kHz by core and temperatures in thousandths of a degree by zone, at this moment: one object. */
void machine_condition(struct json *json, const char *key);

#endif
