/* One way to stop: a line on stderr and an exit status that says whose fault it is. */
#ifndef SQUEEZE_FAIL_H
#define SQUEEZE_FAIL_H

enum status {
    STATUS_PLAN = 2,    /* the plan or the command line cannot be read */
    STATUS_LIBRARY = 3, /* ONNX Runtime's library is not there or too old */
    STATUS_MODEL = 4,   /* ONNX Runtime refuses the model or a call */
    STATUS_FILE = 5,    /* an input cannot be read or a result cannot be written */
    STATUS_CORES = 6,   /* the system does not let us stay on the cores asked for */
    STATUS_GONE = 7     /* whoever started us has gone */
};

#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 2, 3)))
#endif
void fail(enum status status, const char *format, ...);

/* Memory of zeros; running out of it ends the program. */
void *reserve(size_t count, size_t size);

#endif
