/* A parent that makes zombies, says their pids, then sleeps in one system call and says how that ended.
 *
 *     blocked CALL ZOMBIES MILLISECONDS
 *
 * prints "zombies PID...", then "CALL result errno elapsed-ms", then waits for the end of standard input and
 * leaves with 0: so whoever reads it knows what became of the call, and of the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static void on_signal(int number) { (void)number; caught = 1; }

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void forbid_waiting(int verdict) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_wait4, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, verdict),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) exit(9);
}

/* Compute in user mode, without any system call, something that a wrong register would spoil. */
static int compute(long ms) {
  long end = milliseconds() + ms;
  int wrong = 0;
  do {
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
    double x = 0.5, y = 0.25;
    for (int i = 0; i < 2000000; i++) {
      a = a * 6364136223846793005u + 1, b ^= a, c += b, d = (d << 7) | (d >> 57), e += d, f ^= e, g += f, h ^= g;
      x = x * 0.75 + 0.25 * y, y = 1.0 - x;
    }
    static uint64_t first;
    static double first_x;
    uint64_t sum = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
    if (!first) first = sum, first_x = x;
    wrong += sum != first || x != first_x;
  } while (milliseconds() < end);
  return wrong;
}

#if __has_include(<sys/rseq.h>) && defined(__x86_64__)
#include <sys/rseq.h>
extern struct rseq_cs section;
/* Stay in a restartable sequence and look whether the kernel still knows of it: it must, or have left it. */
static int in_sequence(long ms) {
  struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
  long end = milliseconds() + ms;
  int wrong = 0;
  if (!__rseq_size) return -2;
  do {
    int bad = 0;
    long turns = 20000000;
    __asm__ volatile(
        ".pushsection __rseq_cs, \"aw\"\n.balign 32\nsection: .long 0, 0\n.quad 1f, 2f - 1f, 4f\n.popsection\n"
        "leaq section(%%rip), %%rax\n"
        "movq %%rax, %2\n"
        "1: cmpq $0, %2\n"
        "jne 3f\n"
        "movl $1, %0\n"
        "3: decq %1\n"
        "jnz 1b\n"
        "2: jmp 5f\n"
        ".byte 0x0f, 0xb9, 0x3d\n.long 0x53053053\n"
        "4: nop\n"
        "5: movq $0, %2\n"
        : "+r"(bad), "+r"(turns), "+m"(area->rseq_cs)
        :
        : "rax", "memory", "cc");
    wrong += bad;
  } while (milliseconds() < end);
  return wrong;
}
#else
static int in_sequence(long ms) { return -2; }
#endif

static void *in_thread(void *argument);

static long enter(const char *call, long ms) {
  struct timespec span = {ms / 1000, ms % 1000 * 1000000};
  struct timeval same = {ms / 1000, ms % 1000 * 1000};
  int pair[2];
  if (!strcmp(call, "sleep")) return nanosleep(&span, NULL);
  if (!strcmp(call, "read")) return read(0, &(char){0}, 1);
  if (!strcmp(call, "epoll_wait")) return epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, ms);
  if (!strcmp(call, "poll")) return poll(NULL, 0, ms);
  if (!strcmp(call, "select")) return select(0, NULL, NULL, NULL, &same);
  if (!strcmp(call, "futex")) return syscall(SYS_futex, &(int){7}, FUTEX_WAIT_PRIVATE, 7, &span, NULL, 0);
  if (!strcmp(call, "semop")) {
    int set = semget(IPC_PRIVATE, 1, 0600);
    long result = semtimedop(set, &(struct sembuf){0, -1, 0}, 1, &span);
    int number = errno;
    semctl(set, 0, IPC_RMID);
    errno = number;
    return result;
  }
  if (!strcmp(call, "recv")) {
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &same, sizeof same);
    return recv(pair[0], &(char){0}, 1, 0);
  }
  sigset_t set;
  sigemptyset(&set);
  if (!strcmp(call, "sigtimedwait")) {
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &span);
  }
  if (!strcmp(call, "sigsuspend")) return sigsuspend(&set); /* SIGUSR1 is blocked but in here */
  if (!strcmp(call, "epoll_pwait")) return epoll_pwait(epoll_create1(0), &(struct epoll_event){0}, 1, ms, &set);
  if (!strcmp(call, "compute")) return compute(ms);
  if (!strcmp(call, "rseq")) return in_sequence(ms);
  if (!strcmp(call, "thread")) {
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, &ms);
    pthread_join(thread, NULL);
    return 0;
  }
  exit(8);
}

static void *in_thread(void *argument) {
  enter("sleep", *(long *)argument);
  return NULL;
}

int main(int count, char **words) {
  const char *call = words[1];
  int zombies = count > 2 ? atoi(words[2]) : 1;
  long ms = count > 3 ? atol(words[3]) : 3000;
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGUSR1, on_signal);
  if (count > 4) {
    const char *verdict = words[4];
    forbid_waiting(!strcmp(verdict, "kill")   ? (int)SECCOMP_RET_KILL_PROCESS
                   : !strcmp(verdict, "trap") ? (int)SECCOMP_RET_TRAP
                                              : (int)SECCOMP_RET_ERRNO | EPERM);
  }
  printf("zombies");
  for (int i = 0; i < zombies; i++) {
    pid_t pid = fork();
    if (pid == 0) _exit(7);
    waitid(P_PID, pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
    printf(" %d", pid);
  }
  printf("\n");
  long began = milliseconds();
  errno = 0;
  long result = enter(call, ms);
  int number = result < 0 ? errno : 0;
  printf("%s %ld %d %ld\n", call, result, number, milliseconds() - began);
  while (read(0, &(char){0}, 1) > 0) continue;
  return 0;
}
