#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fazai_mod.h"

int fazai_mod_init(void) { return 0; }
void fazai_mod_cleanup(void) {}

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    (void)cmd;
    snprintf(result, (size_t)result_len, "not the stream");
    return 99;
}

static int emitted;

int fazai_mod_exec_stream(const char *cmd, fazai_mod_emit emit, void *context)
{
    int bytes;
    if (strcmp(cmd, "emitted") == 0) {
        char text[32];
        emit(context, text, (size_t)snprintf(text, sizeof text, "%d", emitted));
        return 0;
    }
    if (strcmp(cmd, "three") == 0) {
        emit(context, "one ", 4);
        emit(context, "\xe2\x82", 2); /* a character in two pieces */
        emit(context, "\xac three", 7);
        emit(context, 0, 5);
        return 4;
    }
    if (strcmp(cmd, "forever") == 0) {
        for (emitted = 0; emit(context, "more ", 5) == 0; emitted++)
            usleep(1000);
        return 0;
    }
    if (strcmp(cmd, "deaf") == 0) {
        for (;;)
            emit(context, "more ", 5);
    }
    if (sscanf(cmd, "bytes %d", &bytes) == 1) {
        char *text = malloc((size_t)bytes);
        memset(text, 'b', (size_t)bytes);
        emit(context, text, (size_t)bytes);
        free(text);
        return 0;
    }
    return 1;
}
