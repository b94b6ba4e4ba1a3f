/* hostile: does on command what a module must never do. For tests of whoever loads modules: load
 * it in a process that may die, with limits, and nowhere else.
 *
 *   c++ -Wall -Wextra -Werror -O2 -fPIC -shared -fvisibility=hidden -I ../include \
 *      -x c hostile.c -x c++ hostile_throw.cpp -o build/hostile.so
 *
 * An attempt that was refused ends with 1 and says so: "errno 13: Permission denied".
 */
#define _DEFAULT_SOURCE

#include "fazai_mod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A test of a worker without limits must not take the machine down. */
enum {
    CHILDREN = 16,
    CHILD_SECONDS = 60,
    ALLOC_MIB_DEFAULT = 4096,
    ALLOC_MIB_MAX = 65536,
    OVERFLOW_BYTES = 1 << 20,
};

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC,
    .abi = FAZAI_MOD_ABI,
    .struct_size = sizeof(struct fazai_mod_descriptor),
    .name = "hostile",
    .version = "1.0.0",
    .description = "Crashes, hangs and breaks rules on command, for tests.",
    .commands = "[{\"name\": \"ok\", \"description\": \"Does nothing wrong.\"},"
                "{\"name\": \"segv\", \"description\": \"Writes to a null pointer.\"},"
                "{\"name\": \"loop\", \"description\": \"Never returns.\"},"
                "{\"name\": \"fork\", \"description\": \"Starts 16 children that sleep.\"},"
                "{\"name\": \"alloc\", \"description\": \"Takes and keeps MIB of memory.\"},"
                "{\"name\": \"exit\", \"description\": \"Calls exit(0).\"},"
                "{\"name\": \"abort\", \"description\": \"Calls abort.\"},"
                "{\"name\": \"overflow\", \"description\": \"Writes 1 MiB past its buffer.\"},"
                "{\"name\": \"closefds\", \"description\": \"Closes every descriptor.\"},"
                "{\"name\": \"shadow\", \"description\": \"Opens /etc/shadow.\"},"
                "{\"name\": \"connect\", \"description\": \"Connects to 127.0.0.1, port 9.\"},"
                "{\"name\": \"no_nul\", \"description\": \"Fills its buffer without a NUL.\"},"
                "{\"name\": \"negative\", \"description\": \"Returns -7.\"},"
                "{\"name\": \"not_utf8\", \"description\": \"Answers with bytes of no text.\"},"
                "{\"name\": \"stack\", \"description\": \"Recurses until the stack ends.\"},"
                "{\"name\": \"throw\", \"description\": \"Throws a C++ exception.\"}]",
};

void hostile_throw(void); /* in hostile_throw.cpp */

static int refused(char *result, int result_len) {
    int error = errno;
    snprintf(result, (size_t)result_len, "errno %d: %s", error, strerror(error));
    return 1;
}

static int say(char *result, int result_len, const char *text) {
    snprintf(result, (size_t)result_len, "%s", text);
    return 0;
}

static void segv(void) {
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
}

static void loop(void) {
    for (volatile unsigned long turns = 0;; turns++) {
    }
}

static int forks(char *result, int result_len) {
    for (int child = 0; child < CHILDREN; child++) {
        pid_t pid = fork();
        if (pid < 0)
            return refused(result, result_len);
        if (pid == 0) {
            sleep(CHILD_SECONDS);
            _exit(0);
        }
    }
    return say(result, result_len, "16 children sleep for 60 seconds");
}

static int alloc(const char *arg, char *result, int result_len) {
    long mib = *arg ? strtol(arg, NULL, 10) : ALLOC_MIB_DEFAULT;
    if (mib < 1 || mib > ALLOC_MIB_MAX) {
        say(result, result_len, "alloc MIB takes 1 to 65536");
        return 1;
    }
    for (long taken = 0; taken < mib; taken++) {
        char *block = malloc(1 << 20);
        if (!block)
            return refused(result, result_len);
        /* A page that nobody writes to is none. The compiler must not see that nobody reads. */
        for (volatile char *at = block; at < block + (1 << 20); at += 4096)
            *at = 1;
    }
    return say(result, result_len, "allocated");
}

static int closefds(char *result, int result_len) {
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < (most > 0 && most < 65536 ? most : 65536); fd++)
        close(fd);
    return say(result, result_len, "closed");
}

static int shadow(char *result, int result_len) {
    int fd = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refused(result, result_len);
    close(fd);
    return say(result, result_len, "opened /etc/shadow");
}

static int connects(char *result, int result_len) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refused(result, result_len);
    int code = connect(fd, (struct sockaddr *)&to, sizeof to) == 0
                   ? say(result, result_len, "connected to 127.0.0.1:9")
                   : refused(result, result_len);
    close(fd);
    return code;
}

/* The caller uses what the callee wrote, so that no call can be turned into a jump. */
static int recurse(volatile char *above, unsigned long depth) {
    volatile char page[4096];
    page[0] = (char)(*above + 1);
    return depth == 0 ? page[0] : recurse(page, depth - 1) + page[0];
}

int fazai_mod_init(void) {
    return 0;
}

int fazai_mod_exec(const char *cmd, char *result, int result_len) {
    volatile char bottom = 0;
    if (strcmp(cmd, "ok") == 0)
        return say(result, result_len, "ok");
    if (strcmp(cmd, "segv") == 0)
        segv();
    if (strcmp(cmd, "loop") == 0)
        loop();
    if (strcmp(cmd, "fork") == 0)
        return forks(result, result_len);
    if (strcmp(cmd, "alloc") == 0)
        return alloc("", result, result_len);
    if (strncmp(cmd, "alloc ", 6) == 0)
        return alloc(cmd + 6, result, result_len);
    if (strcmp(cmd, "exit") == 0)
        exit(0);
    if (strcmp(cmd, "abort") == 0)
        abort();
    if (strcmp(cmd, "overflow") == 0) {
        memset(result, 'x', (size_t)result_len + OVERFLOW_BYTES);
        return 0;
    }
    if (strcmp(cmd, "closefds") == 0)
        return closefds(result, result_len);
    if (strcmp(cmd, "shadow") == 0)
        return shadow(result, result_len);
    if (strcmp(cmd, "connect") == 0)
        return connects(result, result_len);
    if (strcmp(cmd, "no_nul") == 0) {
        memset(result, 'x', (size_t)result_len);
        return 0;
    }
    if (strcmp(cmd, "negative") == 0) {
        say(result, result_len, "a negative error");
        return -7;
    }
    if (strcmp(cmd, "not_utf8") == 0)
        return say(result, result_len, "caf\xe9 \xff\xfe end");
    if (strcmp(cmd, "stack") == 0)
        return recurse(&bottom, (unsigned long)-1);
    if (strcmp(cmd, "throw") == 0)
        hostile_throw();
    snprintf(result, (size_t)result_len, "no command '%.64s': the descriptor lists them", cmd);
    return 1;
}

void fazai_mod_cleanup(void) {
}
