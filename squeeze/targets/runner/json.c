#include "json.h"

static void quoted(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *sign = (const unsigned char *)text; *sign; sign++) {
        if (*sign == '"' || *sign == '\\')
            fprintf(file, "\\%c", *sign);
        else if (*sign < 0x20)
            fprintf(file, "\\u%04x", (unsigned)*sign);
        else
            fputc(*sign, file);
    }
    fputc('"', file);
}

static void begin(struct json *json, const char *key)
{
    if (!json->first)
        fputc(',', json->file);
    json->first = 0;
    if (key) {
        quoted(json->file, key);
        fputc(':', json->file);
    }
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->file);
    json->first = 1;
}

void json_close(struct json *json, char bracket)
{
    fputc(bracket, json->file);
    json->first = 0;
}

void json_text(struct json *json, const char *key, const char *value)
{
    begin(json, key);
    if (value)
        quoted(json->file, value);
    else
        fputs("null", json->file);
}

void json_whole(struct json *json, const char *key, long long value)
{
    begin(json, key);
    fprintf(json->file, "%lld", value);
}

void json_number(struct json *json, const char *key, double value)
{
    begin(json, key);
    fprintf(json->file, "%.6f", value);
}
