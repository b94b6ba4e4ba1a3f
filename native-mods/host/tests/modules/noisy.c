/* Writes to its standard streams. */
#include <stdio.h>
#include <string.h>

int fazai_mod_init(void)
{
    fprintf(stderr, "here I am\n");
    return 0;
}

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    int lines;
    if (sscanf(cmd, "flood %d", &lines) == 1) {
        for (int line = 0; line < lines; line++)
            fprintf(stderr, "line %d of a flood\n", line);
    } else {
        printf("to standard output\n");
        fflush(stdout);
        fprintf(stderr, "\033[2Jsaid: %s", cmd);
    }
    snprintf(result, (size_t)result_len, "done");
    return 0;
}

void fazai_mod_cleanup(void) {}
