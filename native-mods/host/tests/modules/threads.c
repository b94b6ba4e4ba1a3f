/* Says whether two calls were in it at once. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fazai_mod.h"

#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef MARK
#define MARK "/nowhere/mark"
#endif

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC, .abi = FAZAI_MOD_ABI,
    .struct_size = sizeof(struct fazai_mod_descriptor), .flags = FLAGS, .name = "threads",
};

static atomic_int inside, cleaned;

int fazai_mod_init(void) { return 0; }

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    int met = 0;
    (void)cmd;
    inside++;
    for (int wait = 0; wait < 50; wait++) {
        met |= inside == 2;
        usleep(10000);
    }
    inside--;
    snprintf(result, (size_t)result_len, "%s", cleaned ? "cleaned" : met ? "met" : "alone");
    return 0;
}

int fazai_mod_health(char *result, int result_len)
{
    snprintf(result, (size_t)result_len, "%d inside", inside);
    return 0;
}

void fazai_mod_cleanup(void)
{
    FILE *mark = fopen(MARK, "w");
    cleaned = 1;
    if (mark) {
        fprintf(mark, "%d inside", inside);
        fclose(mark);
    }
}
