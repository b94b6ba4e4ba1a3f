/* Does its worst, by command. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int fazai_mod_init(void) { return 0; }
void fazai_mod_cleanup(void) {}

static volatile char sink;

static int deeper(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    sink = frame[0];
    return deeper(depth + 1) + frame[0];
}

static int say(char *result, int result_len, int got)
{
    snprintf(result, (size_t)result_len, "%s", got < 0 ? strerrorname_np(errno) : "done");
    return got < 0 ? errno : 0;
}

static void *thread(void *argument) { return argument; }

int fazai_mod_exec(const char *cmd, char *result, int result_len)
{
#define IS(name) (strcmp(cmd, name) == 0)
    if (IS("segfault"))
        *(volatile int *)16 = 1;
    if (IS("raise"))
        raise(SIGSEGV);
    if (IS("abort"))
        abort();
    if (IS("loop"))
        for (;;)
            sink++;
    if (IS("stack"))
        return deeper(0);
    if (IS("exit"))
        exit(3);
    if (IS("exit_zero"))
        _exit(0);
    if (IS("overflow"))
        memset(result, 'x', (size_t)result_len + 1);
    if (IS("fork"))
        return say(result, result_len, fork());
    if (IS("vfork_by_number"))
        return say(result, result_len, (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (IS("exec"))
        return say(result, result_len, execl("/bin/true", "true", (char *)0));
    if (IS("allocate"))
        for (;;) {
            char *more = malloc(1 << 20);
            memset(more, 1, 1 << 20);
        }
    int megabytes;
    if (sscanf(cmd, "map %d", &megabytes) == 1) {
        void *got = mmap(0, (size_t)megabytes << 20, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (got != MAP_FAILED)
            munmap(got, (size_t)megabytes << 20);
        return say(result, result_len, got == MAP_FAILED ? -1 : 0);
    }
    if (IS("close_all")) {
        for (int fd = 0; fd < 1024; fd++)
            close(fd);
        for (;;)
            pause();
    }
    if (IS("scribble")) {
        for (int fd = 0; fd < 1024; fd++)
            send(fd, "garbage that is no frame at all", 31, MSG_NOSIGNAL);
        for (;;)
            pause();
    }
    if (IS("shadow"))
        return say(result, result_len, open("/etc/shadow", O_RDONLY));
    if (strncmp(cmd, "open ", 5) == 0)
        return say(result, result_len, open(cmd + 5, O_RDONLY));
    if (strncmp(cmd, "write ", 6) == 0)
        return say(result, result_len, open(cmd + 6, O_WRONLY | O_CREAT, 0600));
    if (strncmp(cmd, "connect ", 8) == 0) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(cmd + 8)) };
        inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        return say(result, result_len, fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof to));
    }
    if (IS("unix"))
        return say(result, result_len, socket(AF_UNIX, SOCK_STREAM, 0));
    if (IS("uring"))
        return say(result, result_len, (int)syscall(SYS_io_uring_setup, 8, 0));
    if (IS("kill_parent"))
        return say(result, result_len, kill(getppid(), SIGKILL));
    if (IS("ptrace"))
        return say(result, result_len, (int)ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    if (IS("outlive"))
        return say(result, result_len, prctl(PR_SET_PDEATHSIG, 0));
    if (IS("setsid"))
        return say(result, result_len, setsid());
    if (IS("user")) {
        snprintf(result, (size_t)result_len, "%u", getuid());
        return 0;
    }
    if (IS("environment")) {
        extern char **environ;
        snprintf(result, (size_t)result_len, "%s", environ && environ[0] ? environ[0] : "empty");
        return 0;
    }
    if (IS("descriptors")) {
        int count = 0;
        for (int fd = 0; fd < 1024; fd++)
            count += fcntl(fd, F_GETFD) >= 0;
        snprintf(result, (size_t)result_len, "%d", count);
        return 0;
    }
    if (IS("child")) { /* leaves a process behind; needs the right to fork */
        pid_t pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        snprintf(result, (size_t)result_len, "%d", pid);
        return 0;
    }
    if (IS("system")) {
        int status = system("exit 7");
        snprintf(result, (size_t)result_len, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        return 0;
    }
    if (IS("thread")) {
        pthread_t id;
        errno = pthread_create(&id, 0, thread, 0);
        return say(result, result_len, errno ? -1 : pthread_join(id, 0));
    }
    if (IS("hello"))
        strcpy(result, "still here");
    return 0;
}
