/*
 * Runs single user-mode instructions on the host CPU. Reads cases from stdin until it ends, writes one result for
 * each to stdout; the records are those of tests/differential/case.ts. An instruction that comes to its end meets a
 * jump to `leave`; everything else (faults, taken branches into int3) arrives as a signal. Built as a 64-bit and,
 * where the compiler can, as a 32-bit program. Arguments that begin with = are descriptors for the LDT; one of another
 * kind has results written one by one, so that the last one written is the last that ended. Ends with 6 where it may
 * not have an LDT.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <asm/ldt.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

/* Addresses and sizes: as in case.ts. */
#define CODE_PAGE ((uint8_t *)0x10000000)
#define CODE_AT 0x800
#define DATA ((uint8_t *)0x20000000)
#define DATA_SIZE 0x2000 /* read-write; a read-only page of zeros follows */
#define WINDOW_AT 0xf80
#define WINDOW_SIZE 256
#define PAGE 0x1000
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31) /* Linux 4.7 */
#endif
#define STUCK 254 /* vector reported for an instruction that does not end */

struct request {
  uint8_t length;
  uint8_t code[15];
  uint64_t gpr[16];
  uint64_t rflags;
  uint8_t fx[512];
  uint8_t ymmh[256]; /* upper halves of YMM0-15 */
  uint8_t window[WINDOW_SIZE];
  uint64_t bases[2]; /* of FS and GS, in 64-bit mode */
} __attribute__((packed));

struct result {
  int32_t vector; /* -1: none */
  uint32_t error;
  uint64_t cr2;
  uint64_t rip;
  uint64_t gpr[16];
  uint64_t rflags;
  uint8_t fx[512];
  uint8_t ymmh[256];
  uint8_t window[WINDOW_SIZE];
  uint64_t bases[2];
} __attribute__((packed));

/* What the assembly below loads and stores; used by name from there. */
unsigned long in_gpr[16], out_gpr[16], in_flags, out_flags, host_sp, code_at;
/* XSAVE images in the standard format (SDM vol.1 13.4): FXSAVE image, header at 512, YMM upper halves at 576. */
#define XSAVE_HEADER 512
#define XSAVE_YMMH 576
#define XSAVE_SIZE 832
uint8_t in_fx[XSAVE_SIZE] __attribute__((aligned(64)));
uint8_t out_fx[XSAVE_SIZE] __attribute__((aligned(64)));
uint32_t has_avx;
#ifdef __x86_64__
static int has_bases; /* RDFSBASE and its kin */
#define HWCAP2_FSGSBASE 2
#endif
uint32_t usual_mxcsr = 0x1f80;
void enter(void);
void leave(void);
void give_up(void);
unsigned long leave_at;

#ifdef __x86_64__
__asm__(
    ".globl enter, leave, give_up\n"
    "enter:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  mov %rsp, host_sp(%rip)\n"
    "  cmpl $0, has_avx(%rip); je 1f\n"
    "  mov $7, %eax; xor %edx, %edx; xrstor64 in_fx(%rip); jmp 2f\n"
    "1: fxrstor64 in_fx(%rip)\n"
    "2:\n"
    "  pushq in_flags(%rip); popfq\n"
    "  mov in_gpr+0(%rip), %rax;   mov in_gpr+8(%rip), %rcx;  mov in_gpr+16(%rip), %rdx; mov in_gpr+24(%rip), %rbx\n"
    "  mov in_gpr+32(%rip), %rsp;  mov in_gpr+40(%rip), %rbp; mov in_gpr+48(%rip), %rsi; mov in_gpr+56(%rip), %rdi\n"
    "  mov in_gpr+64(%rip), %r8;   mov in_gpr+72(%rip), %r9;  mov in_gpr+80(%rip), %r10; mov in_gpr+88(%rip), %r11\n"
    "  mov in_gpr+96(%rip), %r12;  mov in_gpr+104(%rip), %r13; mov in_gpr+112(%rip), %r14; mov in_gpr+120(%rip), %r15\n"
    "  jmp *code_at(%rip)\n"
    "leave:\n"
    "  mov %rax, out_gpr+0(%rip);   mov %rcx, out_gpr+8(%rip);  mov %rdx, out_gpr+16(%rip); mov %rbx, out_gpr+24(%rip)\n"
    "  mov %rsp, out_gpr+32(%rip);  mov %rbp, out_gpr+40(%rip); mov %rsi, out_gpr+48(%rip); mov %rdi, out_gpr+56(%rip)\n"
    "  mov %r8, out_gpr+64(%rip);   mov %r9, out_gpr+72(%rip);  mov %r10, out_gpr+80(%rip); mov %r11, out_gpr+88(%rip)\n"
    "  mov %r12, out_gpr+96(%rip);  mov %r13, out_gpr+104(%rip); mov %r14, out_gpr+112(%rip); mov %r15, out_gpr+120(%rip)\n"
    "  mov host_sp(%rip), %rsp\n"
    "  pushfq; popq out_flags(%rip)\n"
    "  cmpl $0, has_avx(%rip); je 1f\n"
    "  mov $7, %eax; xor %edx, %edx; xsave64 out_fx(%rip); jmp give_up\n"
    "1: fxsave64 out_fx(%rip)\n"
    "give_up:\n"
    "  mov host_sp(%rip), %rsp\n"
    "  pushq $2; popfq\n"
    "  fninit; ldmxcsr usual_mxcsr(%rip)\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n");
static const int GREG[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
#define GPRS 16
#define REG_IP REG_RIP
#define REG_STACK REG_RSP
#else
__asm__(
    ".globl enter, leave, give_up\n"
    "enter:\n"
    "  push %ebx; push %ebp; push %esi; push %edi\n"
    "  mov %esp, host_sp\n"
    "  cmpl $0, has_avx; je 1f\n"
    "  mov $7, %eax; xor %edx, %edx; xrstor in_fx; jmp 2f\n"
    "1: fxrstor in_fx\n"
    "2:\n"
    "  pushl in_flags; popfl\n"
    "  mov in_gpr+0, %eax;  mov in_gpr+4, %ecx;  mov in_gpr+8, %edx;  mov in_gpr+12, %ebx\n"
    "  mov in_gpr+16, %esp; mov in_gpr+20, %ebp; mov in_gpr+24, %esi; mov in_gpr+28, %edi\n"
    "  jmp *code_at\n"
    "leave:\n"
    "  mov %eax, out_gpr+0;  mov %ecx, out_gpr+4;  mov %edx, out_gpr+8;  mov %ebx, out_gpr+12\n"
    "  mov %esp, out_gpr+16; mov %ebp, out_gpr+20; mov %esi, out_gpr+24; mov %edi, out_gpr+28\n"
    "  mov host_sp, %esp\n"
    "  pushfl; popl out_flags\n"
    "  cmpl $0, has_avx; je 1f\n"
    "  mov $7, %eax; xor %edx, %edx; xsave out_fx; jmp give_up\n"
    "1: fxsave out_fx\n"
    "give_up:\n"
    "  mov host_sp, %esp\n"
    "  pushl $2; popfl\n"
    "  fninit; ldmxcsr usual_mxcsr\n"
    "  pop %edi; pop %esi; pop %ebp; pop %ebx\n"
    "  ret\n");
static const int GREG[16] = {REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_ESP, REG_EBP, REG_ESI, REG_EDI};
#define GPRS 8
#define REG_IP REG_EIP
#define REG_STACK REG_ESP
#endif

static struct result out;
static int faulted;
static volatile sig_atomic_t running, stuck; /* inside enter(); timer ticks since then */

/* The legacy FXSAVE image of a signal frame. A 32-bit frame has the older FSAVE image of 112 bytes in front. */
static const uint8_t *saved_fx(const ucontext_t *uc) {
#ifdef __x86_64__
  return (const uint8_t *)uc->uc_mcontext.fpregs;
#else
  return (const uint8_t *)uc->uc_mcontext.fpregs + 112;
#endif
}

/* Copies an FXSAVE or XSAVE image to the result. A part in its initial state may not have been written. */
static void take_fx(const uint8_t *image) {
  memcpy(out.fx, image, 512);
  memset(out.ymmh, 0, sizeof out.ymmh);
  if (has_avx && image[XSAVE_HEADER] & 4) memcpy(out.ymmh, image + XSAVE_YMMH, sizeof out.ymmh);
}

/* A handler begins with the flags of what it interrupts; this program's own accesses are not aligned. */
static void allow_unaligned(void) {
#ifdef __x86_64__
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~0x40000ull);
#else
  __builtin_ia32_writeeflags_u32(__builtin_ia32_readeflags_u32() & ~0x40000u);
#endif
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  allow_unaligned();
  (void)sig;
  (void)info;
  ucontext_t *uc = context;
  greg_t *g = uc->uc_mcontext.gregs;
  faulted = 1;
  out.vector = (int32_t)g[REG_TRAPNO];
  out.error = (uint32_t)g[REG_ERR];
#ifdef __x86_64__
  out.cr2 = (uint64_t)g[REG_CR2];
  out.rip = (uint64_t)g[REG_IP];
#else
  out.cr2 = (uint32_t)uc->uc_mcontext.cr2;
  out.rip = (uint32_t)g[REG_IP];
#endif
  for (int i = 0; i < GPRS; i++) out.gpr[i] = (unsigned long)g[GREG[i]];
  out.rflags = (unsigned long)g[REG_EFL];
  take_fx(saved_fx(uc));
  g[REG_IP] = (greg_t)(unsigned long)give_up;
  g[REG_EFL] = 2;
  if (!running) _exit(5); /* a mistake in this program */
}

/* An instruction that does not end (a jump to itself) is stopped at the second tick. */
static void on_tick(int sig, siginfo_t *info, void *context) {
  allow_unaligned();
  if (!running || ++stuck < 2) return;
  on_signal(sig, info, context);
  out.vector = STUCK;
}

static void prepare(const struct request *in) {
  uint8_t *code = CODE_PAGE + CODE_AT;
  memset(code, 0xcc, sizeof in->code + 6);
  memcpy(code, in->code, in->length);
  uint8_t *end = code + in->length;
  end[0] = 0xff; /* jmp [leave_at]: RIP-relative in 64-bit mode, absolute in 32-bit mode */
  end[1] = 0x25;
#ifdef __x86_64__
  int32_t disp = (int32_t)((intptr_t)CODE_PAGE + PAGE - 8 - (intptr_t)(end + 6));
#else
  int32_t disp = (int32_t)(intptr_t)(CODE_PAGE + PAGE - 8);
#endif
  memcpy(end + 2, &disp, 4);
  memset(DATA, 0, DATA_SIZE);
  memcpy(DATA + WINDOW_AT, in->window, WINDOW_SIZE);
  for (int i = 0; i < GPRS; i++) in_gpr[i] = (unsigned long)in->gpr[i];
  in_flags = (unsigned long)in->rflags;
  memcpy(in_fx, in->fx, 512);
  in_fx[XSAVE_HEADER] = 7;
  memcpy(in_fx + XSAVE_YMMH, in->ymmh, sizeof in->ymmh);
}

/* enter() with the bases of FS and GS of the case; nothing in between, nor in a handler, uses this program's own. */
static void enter_with_bases(const uint64_t *bases) {
#ifdef __x86_64__
  if (has_bases) {
    uint64_t fs, gs;
    __asm__ volatile("rdfsbase %0; rdgsbase %1; wrfsbase %2; wrgsbase %3"
                     : "=&r"(fs), "=&r"(gs)
                     : "r"(bases[0]), "r"(bases[1]));
    enter();
    __asm__ volatile("rdfsbase %0; rdgsbase %1; wrfsbase %2; wrgsbase %3"
                     : "=&r"(out.bases[0]), "=&r"(out.bases[1])
                     : "r"(fs), "r"(gs));
    return;
  }
#endif
  (void)bases;
  enter();
}

static void run(const struct request *in) {
  prepare(in);
  memset(&out, 0, sizeof out);
  faulted = 0;
  stuck = 0;
  running = 1;
  enter_with_bases(in->bases);
  running = 0;
  if (!faulted) {
    out.vector = -1;
    out.rip = (uint64_t)(uintptr_t)(CODE_PAGE + CODE_AT + in->length);
    for (int i = 0; i < GPRS; i++) out.gpr[i] = out_gpr[i];
    out.rflags = out_flags;
    take_fx(out_fx);
  }
  memcpy(out.window, DATA + WINDOW_AT, WINDOW_SIZE);
}

static void *map(void *at, size_t size, int prot) {
  void *p = mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != at) {
    perror("harness: mmap");
    exit(2);
  }
  return p;
}

static void catch_signals(void) {
  static uint8_t stack[1 << 16];
  /* A case's stack pointer may happen to be in it: the handler is to begin at its top all the same. */
  stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = SS_AUTODISARM};
  sigaltstack(&ss, NULL);
  struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
  sa.sa_sigaction = on_tick;
  sa.sa_flags |= SA_RESTART;
  sigaction(SIGVTALRM, &sa, NULL);
  struct itimerval tick = {.it_interval = {.tv_usec = 200000}, .it_value = {.tv_usec = 200000}};
  setitimer(ITIMER_VIRTUAL, &tick, NULL); /* of its own time: the host may be busy */
}

/* Puts descriptor `text`, in hexadecimal, into the LDT. The base does not matter. */
static int describe(unsigned number, const char *text) {
  uint64_t d = strtoull(text, NULL, 16);
  struct user_desc u = {
      .entry_number = number,
      .limit = (unsigned)((d & 0xffff) | (d >> 32 & 0xf0000)),
      .seg_32bit = d >> 54 & 1,
      .contents = d >> 42 & 3,
      .read_exec_only = !(d >> 41 & 1),
      .limit_in_pages = d >> 55 & 1,
      .seg_not_present = !(d >> 47 & 1),
      .useable = d >> 52 & 1,
  };
  if (d == 0) u = (struct user_desc){.entry_number = number, .read_exec_only = 1, .seg_not_present = 1};
  return (int)syscall(SYS_modify_ldt, 0x11, &u, sizeof u) == 0;
}

int main(int argc, char **argv) {
  unsigned descriptors = 0;
  int unbuffered = 0;
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '=') unbuffered = 1;
    else if (!describe(descriptors++, argv[i] + 1)) return 6;
  }
  static struct request in;
  static char buffers[2][1 << 20];
  setvbuf(stdin, buffers[0], _IOFBF, sizeof buffers[0]);
  setvbuf(stdout, buffers[1], unbuffered ? _IONBF : _IOFBF, sizeof buffers[1]);
  has_avx = __builtin_cpu_supports("avx") != 0;
#ifdef __x86_64__
  has_bases = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
#endif
  map(CODE_PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
  map(DATA + DATA_SIZE, PAGE, PROT_READ);
  (void)*(volatile uint8_t *)(DATA + DATA_SIZE); /* present, so that its faults are protection faults */
  memset(CODE_PAGE, 0xcc, PAGE);
  leave_at = (unsigned long)leave;
  memcpy(CODE_PAGE + PAGE - 8, &leave_at, sizeof leave_at);
  code_at = (unsigned long)(CODE_PAGE + CODE_AT);
  catch_signals();
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    if (in.length > sizeof in.code) return 3;
    run(&in);
    if (fwrite(&out, sizeof out, 1, stdout) != 1) return 4;
  }
  return 0;
}
