/* The same for a 32-bit program, without a C library, which machines seldom have: sleeps in nanosleep, or, with
   ANOTHER, waits for another child, which lives until this ends. */
static int call(int number, int a, int b, int c) {
  int result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}

static void say(const char *text, int value) {
  char line[64];
  int length = 0, digits = 0;
  char reversed[12];
  while (text[length]) line[length] = text[length], length++;
  if (value < 0) line[length++] = '-', value = -value;
  do reversed[digits++] = '0' + value % 10; while (value /= 10);
  while (digits) line[length++] = reversed[--digits];
  line[length++] = '\n';
  call(4, 1, (int)line, length);
}

void _start(void) {
  int span[2] = {3, 0};
  char byte;
  int pid = call(2, 0, 0, 0);
  if (pid == 0) call(1, 7, 0, 0);
#ifdef ANOTHER
  int another = call(2, 0, 0, 0);
  if (another == 0) {
    call(172, 1, 9, 0); /* prctl(PR_SET_PDEATHSIG, SIGKILL) */
    for (;;) call(29, 0, 0, 0);
  }
  say("zombies ", pid);
  call(7, another, 0, 0);
#endif
  say("zombies ", pid);
  say("sleep ", call(162, (int)span, 0, 0));
  while (call(3, 0, (int)&byte, 1) > 0) continue;
  call(1, 0, 0, 0);
}
