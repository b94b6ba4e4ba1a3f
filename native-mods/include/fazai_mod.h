/* fazai_mod.h: what a native module of the FazAI worker exports.
 *
 * A module is a shared library. Version 0 is the first three functions and nothing else, and such
 * a module loads as it is. Everything below them is optional and found by its name with dlsym, so
 * a module that lacks it still loads, and a worker that does not know it still calls the rest.
 *
 * Where it runs. Each module has a process of its own, with the rights that its configuration
 * names and no others. What it does there ends with that process: the worker, other modules and
 * running answers go on. Only a module that is signed, and that an administrator marked as trusted
 * and chose to run so, is called inside the worker's process: there is no such end there, and its
 * code stays loaded after fazai_mod_cleanup.
 *
 * Text. UTF-8, ended by a NUL. Bytes that are no UTF-8 reach clients as U+FFFD.
 *
 * Threads. fazai_mod_init is called first, once; fazai_mod_cleanup last, once; no other call runs
 * beside these two. fazai_mod_exec and fazai_mod_exec_stream are called from one thread at a time,
 * unless the descriptor has FAZAI_MOD_THREADS; inside the worker's process these are threads that
 * also do other work. fazai_mod_health may be called between calls only.
 *
 * Ownership. Every pointer belongs to the side that made it. Arguments are valid until the
 * function returns; the descriptor and what it points to, until the process ends. Nothing is
 * freed by the other side.
 *
 * Errors. 0 is success. Any other value is an error of this call, and the text in `result` says
 * what went wrong. Exceptions and panics must not leave a function: the process ends if they do.
 */
#ifndef FAZAI_MOD_H
#define FAZAI_MOD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FAZAI_MOD_EXPORT __attribute__((visibility("default")))
#else
#define FAZAI_MOD_EXPORT
#endif

/* ---- Version 0: every module has these three. ---------------------------------------------- */

/* Called once, before anything else. Anything but 0 refuses the load. */
FAZAI_MOD_EXPORT int fazai_mod_init(void);

/* Runs a command.
 *   cmd         the command and its arguments as one text, such as "echo hi"
 *   result      where the answer goes, ended by a NUL; it begins as an empty text
 *   result_len  how many bytes there are, at least 8192
 */
FAZAI_MOD_EXPORT int fazai_mod_exec(const char *cmd, char *result, int result_len);

/* Called once before the module goes away. It is not called after a crash, a time-out, or a stop
 * that the module did not heed. */
FAZAI_MOD_EXPORT void fazai_mod_cleanup(void);

/* ---- Version 1: what a module may tell about itself. ---------------------------------------- */

#define FAZAI_MOD_MAGIC UINT32_C(0x4d5a4146) /* "FAZM" in the order of the bytes on x86 and ARM */
#define FAZAI_MOD_ABI 1

/* Rights that the module asks for. Without the right a call of that kind fails with EPERM or
 * EACCES, or the kernel ends the process. */
#define FAZAI_MOD_NETWORK UINT64_C(1)      /* sockets of IPv4 and IPv6 */
#define FAZAI_MOD_FILES UINT64_C(2)        /* files beyond the module's own; modules.toml says which */
#define FAZAI_MOD_EXEC UINT64_C(4)         /* starting other programs */

/* What the worker may do. */
#define FAZAI_MOD_THREADS UINT64_C(1)      /* calls may run at the same time on several threads */
#define FAZAI_MOD_GROW UINT64_C(2)         /* a call whose answer filled the buffer may be repeated
                                              once with a larger one: it has no side effects.
                                              Filled is less than 4 bytes of room before the NUL */

/* The descriptor: a constant object with this name,
 *
 *     const struct fazai_mod_descriptor fazai_mod_descriptor = { ... };
 *
 * Fields are only ever added at the end; `struct_size` says which ones this module was compiled
 * with, and those beyond it are taken as 0. Texts may be null, except the name. */
struct fazai_mod_descriptor {
    uint32_t magic;           /* FAZAI_MOD_MAGIC */
    uint32_t abi;             /* FAZAI_MOD_ABI; a worker refuses a larger one than it knows */
    uint32_t struct_size;     /* sizeof(struct fazai_mod_descriptor) */
    uint32_t reserved;        /* 0 */
    uint64_t capabilities;    /* FAZAI_MOD_NETWORK | ... */
    uint64_t flags;           /* FAZAI_MOD_THREADS | ... */
    const char *name;         /* [a-z0-9_-], 1 to 64 characters */
    const char *version;      /* the module's own, such as "1.2.0" */
    const char *description;  /* one sentence */
    /* A JSON list of the commands:
     *   [{"name": "echo", "description": "Says it again.",
     *     "args": {"type": "object", "properties": {"text": {"type": "string"}}}}]
     * `args` is a JSON Schema. A command that has it is called with the name, one space and the
     * arguments as one line of JSON that fits the schema; a caller who wrote none gave {}. A
     * command without it is called with the text that the caller wrote. */
    const char *commands;
};
FAZAI_MOD_EXPORT extern const struct fazai_mod_descriptor fazai_mod_descriptor;

/* Takes a piece of an answer: `len` bytes that need no NUL. Returns 0 to go on; anything else
 * means that nobody wants more, and the module should return soon. */
typedef int (*fazai_mod_emit)(void *context, const char *piece, size_t len);

/* Runs a command as fazai_mod_exec does, and hands over its answer in pieces while it works. The
 * worker prefers it where a module has both. `emit` is to be called during the call only, from
 * the thread that was called. A call that fails hands over the text of its error as the last
 * piece. */
FAZAI_MOD_EXPORT int fazai_mod_exec_stream(const char *cmd, fazai_mod_emit emit, void *context);

/* 0 if the module can work. Called between calls, at most once a second; a module that can't
 * answers with a text, as fazai_mod_exec does. */
FAZAI_MOD_EXPORT int fazai_mod_health(char *result, int result_len);

#ifdef __cplusplus
}
#endif

#endif
