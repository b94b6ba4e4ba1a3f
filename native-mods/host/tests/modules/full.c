/* Everything of version 1 but streams. MARK is what cleanup writes to, VERSION what it says. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fazai_mod.h"

#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef MARK
#define MARK "/nowhere/mark"
#endif

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC,
    .abi = FAZAI_MOD_ABI,
    .struct_size = sizeof(struct fazai_mod_descriptor),
    .capabilities = FAZAI_MOD_NETWORK,
    .flags = FAZAI_MOD_GROW,
    .name = "full",
    .version = VERSION,
    .description = "Tries what a module may do.",
    .commands = "[{\"name\": \"fill\", \"description\": \"Many bytes.\","
                "  \"args\": {\"type\": \"object\"}}]",
};

int fazai_mod_init(void) { return 0; }

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    int bytes;
    if (sscanf(cmd, "fill %d", &bytes) == 1) {
        if (bytes > result_len - 1)
            bytes = result_len - 1;
        memset(result, 'x', (size_t)bytes);
        result[bytes] = 0;
    } else if (strcmp(cmd, "no_nul") == 0) {
        memset(result, 'n', (size_t)result_len);
    } else if (strcmp(cmd, "short_no_nul") == 0) {
        memcpy(result, "abc", 3);
    } else if (strcmp(cmd, "not_utf8") == 0) {
        strcpy(result, "a\xff" "b");
    } else if (strcmp(cmd, "version") == 0) {
        strcpy(result, VERSION);
    } else if (strcmp(cmd, "slow_version") == 0) {
        usleep(400000);
        strcpy(result, VERSION);
    } else if (strcmp(cmd, "minimum") == 0) {
        strcpy(result, "the smallest");
        return -2147483647 - 1;
    } else {
        strcpy(result, "unknown");
        return 1;
    }
    return 0;
}

int fazai_mod_health(char *result, int result_len)
{
    static int count;
    snprintf(result, (size_t)result_len, "asked %d times", ++count);
    return 3;
}

void fazai_mod_cleanup(void)
{
    FILE *mark = fopen(MARK, "w");
    if (mark) {
        fputs("clean", mark);
        fclose(mark);
    }
}
