/* JSON, written as it comes: the caller opens and closes what it means to nest. */
#ifndef SQUEEZE_JSON_H
#define SQUEEZE_JSON_H

#include <stdio.h>

struct json {
    FILE *file;
    int first; /* whether the next value is the first of its object or list */
};

void json_open(struct json *json, const char *key, char bracket);  /* '{' or '['; key NULL in a list */
void json_close(struct json *json, char bracket);                  /* '}' or ']' */
void json_text(struct json *json, const char *key, const char *value); /* NULL is written as null */
void json_whole(struct json *json, const char *key, long long value);
void json_number(struct json *json, const char *key, double value);

#endif
