/* Modules that must not load; -DFAULT=... says what is wrong. */
#include <stdlib.h>
#include <unistd.h>
#include "fazai_mod.h"

#ifndef MAGIC
#define MAGIC FAZAI_MOD_MAGIC
#endif
#ifndef ABI
#define ABI FAZAI_MOD_ABI
#endif
#ifndef SIZE
#define SIZE sizeof(struct fazai_mod_descriptor)
#endif
#ifndef NAME
#define NAME "broken"
#endif
#ifndef MODULE_VERSION
#define MODULE_VERSION "1"
#endif
#ifndef COMMANDS
#define COMMANDS "[]"
#endif
#ifndef INIT
#define INIT return 0
#endif

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = MAGIC, .abi = ABI, .struct_size = SIZE, .name = NAME,
    .version = MODULE_VERSION, .commands = COMMANDS,
};

int fazai_mod_init(void) { INIT; }
#ifndef NO_EXEC
int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
    (void)cmd, (void)result, (void)result_len;
    return 0;
}
#endif
void fazai_mod_cleanup(void) {}
