/* A module that knows the three old prototypes only, and no header. */
int fazai_mod_init(void);
int fazai_mod_exec(const char *cmd, char *result, int result_len);
void fazai_mod_cleanup(void);

#include <stdio.h>
#include <string.h>

int fazai_mod_init(void) { return 0; }

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    if (strncmp(cmd, "echo ", 5) == 0) {
        snprintf(result, (size_t)result_len, "%s", cmd + 5);
        return 0;
    }
    if (strcmp(cmd, "length") == 0) {
        snprintf(result, (size_t)result_len, "%d", result_len);
        return 0;
    }
    snprintf(result, (size_t)result_len, "unknown command");
    return -7;
}

void fazai_mod_cleanup(void) {}
