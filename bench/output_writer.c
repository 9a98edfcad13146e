/* A service for bench/output.py: it writes numbered lines of 100 bytes.

   Usage: output_writer FOLDER NAME LINES PIECE
   Says that it is ready by a byte into FOLDER/done, waits until FOLDER/gate is opened, writes all lines in
   pieces of PIECE bytes, closes FOLDER/done, and ends only when the gate is closed: so that what a daemon does
   about ends is not measured. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 100 };

static int open_in(const char *folder, const char *name, int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, flags);
    if (fd < 0) perror(path), exit(1);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    size_t size = strtoul(argv[3], NULL, 10) * LINE, piece = strtoul(argv[4], NULL, 10);
    char *text = malloc(size + 1);
    if (text == NULL || piece == 0) return 1;
    memset(text, 'x', size);
    for (size_t at = 0, number = 0; at < size; at += LINE, number++) {
        at[text + sprintf(text + at, "%s %08zu ", argv[2], number)] = 'x';
        text[at + LINE - 1] = '\n';
    }
    int done = open_in(argv[1], "done", O_WRONLY);
    if (write(done, "r", 1) != 1) return 1;
    int gate = open_in(argv[1], "gate", O_RDONLY);
    for (size_t at = 0; at < size;) {
        ssize_t written = write(1, text + at, size - at < piece ? size - at : piece);
        if (written < 0) return 1;
        at += written;
    }
    close(done);
    return read(gate, text, 1) < 0;
}
