/* The floor of bench/output.py: the least that puts whole lines of many programs where they belong.

   Usage: output_floor SINK FOLDER MAX_SIZE COUNT WRITER ARGUMENT...
   Starts WRITER ARGUMENT... COUNT times, each with "%" among its arguments replaced by its name (w000, w001).
   SINK is `file` (FOLDER/NAME.log, set aside as .000001, .000002 before it grows beyond MAX_SIZE), or `prefix`
   or `json`: the standard output. It goes on until it is ended: it is no logger to use, for it forgives
   nothing. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 1 << 16, LARGE = 1 << 20, REST = 1 << 16, MOST = 1024 };

struct stream {
    int fd, file, number, is_large;
    size_t written, rest_size, begin_size;
    char rest[REST], name[8], begin[160];
};

static struct stream *streams[MOST];
static char buffer[LARGE + REST], shaped[8 * (LARGE + REST)];
static const char *sink, *folder;
static size_t max_size;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0) fail("write");
        data += written;
        size -= written;
    }
}

static void open_file(struct stream *to) {
    char path[4096], old[4128];
    snprintf(path, sizeof path, "%s/%s.log", folder, to->name);
    if (to->file >= 0) {
        close(to->file);
        snprintf(old, sizeof old, "%s.%06d", path, ++to->number);
        if (rename(path, old) < 0) fail(old);
    }
    to->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (to->file < 0) fail(path);
    to->written = 0;
}

static void to_file(struct stream *to, const char *lines, size_t size) {
    while (to->written + size > max_size) {
        size_t room = max_size - to->written;
        const char *end = memrchr(lines, '\n', room);
        size_t fits = end == NULL ? 0 : end + 1 - lines;
        write_all(to->file, lines, fits);
        lines += fits;
        size -= fits;
        open_file(to);
    }
    write_all(to->file, lines, size);
    to->written += size;
}

static char *quoted(char *out, const char *text, const char *end) {
    for (; text < end; text++) {
        unsigned char each = *text;
        if (each == '"' || each == '\\') *out++ = '\\', *out++ = each;
        else if (each < 0x20) out += sprintf(out, "\\u%04x", each);
        else *out++ = each;
    }
    return out;
}

static void to_screen(struct stream *from, const char *lines, size_t size) {
    int is_json = sink[0] == 'j';
    if (is_json) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        char seconds[32];
        strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", gmtime(&now.tv_sec));
        from->begin_size = sprintf(
            from->begin,
            "{\"time\": \"%s.%06ldZ\", \"service\": \"%s\", \"stream\": \"stdout\", \"message\": \"",
            seconds, now.tv_nsec / 1000, from->name);
    }
    char *out = shaped;
    for (const char *line = lines; line < lines + size;) {
        const char *end = memchr(line, '\n', lines + size - line);
        memcpy(out, from->begin, from->begin_size);
        out += from->begin_size;
        if (is_json) out = stpcpy(quoted(out, line, end), "\"}\n");
        else out = mempcpy(out, line, end + 1 - line);
        line = end + 1;
    }
    write_all(1, shaped, out - shaped);
}

static void serve(struct stream *from) {
    memcpy(buffer, from->rest, from->rest_size);
    ssize_t got = read(from->fd, buffer + from->rest_size, LARGE);
    if (got < 0) fail("read");
    if (got >= SMALL && !from->is_large) from->is_large = fcntl(from->fd, F_SETPIPE_SZ, LARGE) > 0;
    size_t size = from->rest_size + got;
    char *last = memrchr(buffer, '\n', size);
    size_t whole = last == NULL ? 0 : last + 1 - buffer;
    if (whole > 0 && sink[0] == 'f') to_file(from, buffer, whole);
    else if (whole > 0) to_screen(from, buffer, whole);
    from->rest_size = size - whole;
    memcpy(from->rest, buffer + whole, from->rest_size);
}

static struct stream *start(int number, char **command) {
    struct stream *made = calloc(1, sizeof *made);
    int ends[2];
    if (made == NULL || pipe2(ends, O_CLOEXEC) < 0) fail("pipe2");
    made->fd = ends[0];
    made->file = -1;
    snprintf(made->name, sizeof made->name, "w%03d", number);
    made->begin_size = sprintf(made->begin, "%s | ", made->name);
    if (sink[0] == 'f') open_file(made);
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        dup2(ends[1], 1);
        for (char **word = command; *word != NULL; word++)
            if (strcmp(*word, "%") == 0) *word = made->name;
        execv(command[0], command);
        _exit(127);
    }
    return made; /* its pipe stays open for writing here: so there is no end to be read */
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    sink = argv[1];
    folder = argv[2];
    max_size = strtoul(argv[3], NULL, 10);
    int count = atoi(argv[4]), poll = epoll_create1(EPOLL_CLOEXEC);
    if (count > MOST || poll < 0) return 1;
    for (int number = 0; number < count; number++) {
        streams[number] = start(number, argv + 5);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = streams[number]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, streams[number]->fd, &event) < 0) fail("epoll_ctl");
    }
    for (;;) {
        struct epoll_event events[MOST];
        int ready = epoll_wait(poll, events, MOST, -1);
        for (int each = 0; each < ready; each++) serve(events[each].data.ptr);
    }
}
