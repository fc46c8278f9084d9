#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"

void fail(enum status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("squeeze-runner: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

void *reserve(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        fail(STATUS_MODEL, "out of memory: %zu times %zu bytes", count, size);
    return memory;
}
