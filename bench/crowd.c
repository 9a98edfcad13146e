/* A crowd for bench/zombies.py: processes that sleep, and parents that never collect their children.

   Usage: crowd LIVING PARENTS ZOMBIES-OF-EACH
   Says "ready" once everybody is there, and goes on until it is ended; everybody else ends with it. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void sleep_on(void) {
    for (;;) pause();
}

static void be_careless(int zombies) {
    siginfo_t ended;
    for (int made = 0; made < zombies; made++) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        if (pid < 0 || waitid(P_PID, pid, &ended, WEXITED | WNOWAIT) < 0) _exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int living = atoi(argv[1]), parents = atoi(argv[2]), zombies = atoi(argv[3]), ready[2];
    pid_t us = getpid();
    if (pipe(ready) < 0) return 1;
    for (int made = 0; made < living + parents; made++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            return 1;
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != us) _exit(1);
            if (made >= living) {
                be_careless(zombies);
                if (write(ready[1], ".", 1) != 1) _exit(1);
            }
            sleep_on();
        }
    }
    char byte;
    for (int heard = 0; heard < parents; heard++)
        if (read(ready[0], &byte, 1) != 1) return 1;
    puts("ready");
    fflush(stdout);
    sleep_on();
}
