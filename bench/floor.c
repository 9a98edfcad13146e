/* The floor in C: the least that starts programs, starts again those that end, stops all, and says who runs.

   Usage: floor NUMBER PROGRAM FIFO SOCKET      runs PROGRAM i FIFO for i below NUMBER until SIGTERM
          floor status SOCKET                   prints who runs */

#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int count, *owner; /* by pid: the service, plus one */
static pid_t *pids;
static char **words, *answer;
static posix_spawnattr_t plain;

static void start(int number) {
    char digits[16], *argv[] = {words[2], digits, words[3], NULL};
    snprintf(digits, sizeof digits, "%d", number);
    if (posix_spawn(&pids[number], words[2], NULL, &plain, argv, environ) != 0) _exit(1);
    owner[pids[number]] = number + 1;
}

static int reap(int again) {
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        int number = owner[pid] - 1;
        owner[pid] = 0;
        if (again) start(number);
    }
    return pid < 0; /* nobody is left */
}

static void say(int listener) {
    int size = 0, client = accept(listener, NULL, NULL);
    for (int number = 0; number < count; number++)
        size += sprintf(answer + size, "s%d running %d\n", number, pids[number]);
    for (int said = 0, more; said < size && (more = write(client, answer + said, size - said)) > 0;) said += more;
    close(client);
}

static struct sockaddr_un at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}

static int ask(const char *path) {
    struct sockaddr_un address = at(path);
    char text[65536];
    int got, server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(server, (void *)&address, sizeof address) < 0) return 1;
    while ((got = read(server, text, sizeof text)) > 0)
        if (write(1, text, got) < 0) return 1;
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "status") == 0) return ask(argv[2]);
    if (argc != 5) return 2;
    words = argv;
    count = atoi(argv[1]);
    pids = calloc(count, sizeof *pids);
    owner = calloc(1 << 22, sizeof *owner); /* the most pids that Linux has: proc(5) */
    answer = malloc(64 * count);
    sigset_t ours, none;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGCHLD);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, NULL);
    posix_spawnattr_init(&plain);
    posix_spawnattr_setsigmask(&plain, &none);
    posix_spawnattr_setflags(&plain, POSIX_SPAWN_SETSIGMASK);
    struct sockaddr_un address = at(argv[4]);
    int signals = signalfd(-1, &ours, SFD_CLOEXEC), listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (void *)&address, sizeof address) < 0 || listen(listener, 16) < 0) return 1;
    for (int number = 0; number < count; number++) start(number);
    struct pollfd both[] = {{signals, POLLIN, 0}, {listener, POLLIN, 0}};
    for (int going = 1;;) {
        poll(both, 2, -1);
        struct signalfd_siginfo told;
        if (both[0].revents && read(signals, &told, sizeof told) > 0) {
            if (told.ssi_signo == SIGTERM) {
                going = 0;
                for (int number = 0; number < count; number++) kill(pids[number], SIGTERM);
            }
            if (reap(going)) return 0;
        }
        if (both[1].revents) say(listener);
    }
}
