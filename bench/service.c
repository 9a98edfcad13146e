/* The service that every supervisor of bench/supervisors.py runs: it says that it runs, and sleeps.

   Usage: service NUMBER FIFO
   Writes "NUMBER PID NANOSECONDS", the monotonic clock at its first instruction, into FIFO and keeps that
   open: whoever reads it sees its end once the last service is gone. */

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 3) return 2;
    int fifo = open(argv[2], O_WRONLY);
    if (fifo < 0) return 1;
    if (dprintf(fifo, "%s %d %lld\n", argv[1], getpid(), now.tv_sec * 1000000000LL + now.tv_nsec) < 0) return 1;
    for (;;) pause();
}
