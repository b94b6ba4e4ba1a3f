/* echo: a module of version 0. Three functions and nothing else, as modules have always been.
 *
 *   cc -std=c11 -Wall -Wextra -Werror -O2 -fPIC -shared -fvisibility=hidden -I ../include \
 *      echo.c -o build/echo.so
 */
#include "fazai_mod.h"

#include <stdio.h>
#include <string.h>

static unsigned long calls;

int fazai_mod_init(void) {
    return 0;
}

int fazai_mod_exec(const char *cmd, char *result, int result_len) {
    /* snprintf ends the text with a NUL wherever the buffer ends. */
    size_t room = (size_t)result_len;
    calls++;
    if (strcmp(cmd, "help") == 0) {
        snprintf(result, room, "commands: help, status, echo TEXT");
        return 0;
    }
    if (strcmp(cmd, "status") == 0) {
        snprintf(result, room, "ready, %lu calls", calls);
        return 0;
    }
    if (strcmp(cmd, "echo") == 0)
        return 0; /* nothing to say: the result began as an empty text */
    if (strncmp(cmd, "echo ", 5) == 0) {
        snprintf(result, room, "%s", cmd + 5);
        return 0;
    }
    snprintf(result, room, "no command '%.64s': say help, status or echo TEXT", cmd);
    return 1;
}

void fazai_mod_cleanup(void) {
}
