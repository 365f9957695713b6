// A 32-bit multiboot kernel that tells what time does, for tests of clocks: it does what the first letter of its
// command line says, while the 8254 interrupts it, and powers the machine off.

#define COM1 0x3f8
#define TIMER_VECTOR 0x20
#define PIT_HZ 1193182
#define CODE 8
#define DATA 16

    .section .text
    .code32
    .balign 4
    .long 0x1badb002            // magic, flags (0: ELF gives the addresses), checksum
    .long 0
    .long -0x1badb002

    .globl _start
_start:
    movl $stack_top, %esp
    movl 16(%ebx), %esi         // command line of the information structure
    movzbl (%esi), %esi
    lgdt gdt_pointer
    ljmp $CODE, $1f
1:  movw $DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $timer, %eax           // interrupt gate: offset in two halves
    movw %ax, idt + TIMER_VECTOR * 8
    movw $CODE, idt + TIMER_VECTOR * 8 + 2
    movw $0x8e00, idt + TIMER_VECTOR * 8 + 4
    shrl $16, %eax
    movw %ax, idt + TIMER_VECTOR * 8 + 6
    lidt idt_pointer
    movb $0x11, %al             // 8259 pair: initialise, vectors from 0x20 and 0x28, all but the timer masked
    outb %al, $0x20
    outb %al, $0xa0
    movb $0x20, %al
    outb %al, $0x21
    movb $0x28, %al
    outb %al, $0xa1
    movb $4, %al
    outb %al, $0x21
    movb $2, %al
    outb %al, $0xa1
    movb $1, %al
    outb %al, $0x21
    outb %al, $0xa1
    movb $0xfe, %al
    outb %al, $0x21
    movb $0xff, %al
    outb %al, $0xa1
    movl $PIT_HZ / 1000, %ecx
    cmpl $'d', %esi
    je 2f
    movl $PIT_HZ / 100, %ecx
2:  rdtsc                       // before the first tick can be on its way
    movl %eax, start
    movl %edx, start + 4
    movb $0x34, %al             // counter 0, both bytes, mode 2
    outb %al, $0x43
    movb %cl, %al
    outb %al, $0x40
    movb %ch, %al
    outb %al, $0x40
    sti
    cmpl $'d', %esi
    je trace
    cmpl $'i', %esi
    je idle
    movl $50, %ebp
    cmpl $'b', %esi
    je busy
    movl $300, %ebp
    cmpl $'c', %esi
    je busy
power_off:                      // PM1a control: SLP_EN with the sleep type of S5
    movw $0x604, %dx
    movw $0x3400, %ax
    outw %ax, %dx
    jmp power_off

// i: halts for 50 ticks of 10 ms.
idle:
    hlt
    cmpl $50, ticks
    jb idle
    jmp tell

// b: computes for 50 ticks of 10 ms; c: for 300.
busy:
    incl %edi
    cmpl %ebp, ticks
    jb busy
// Says how many milliseconds that took by the time-stamp counter of 1 GHz.
tell:
    rdtsc
    subl start, %eax
    sbbl start + 4, %edx
    movl $1000000, %ecx
    divl %ecx
    call print_number
    jmp power_off

// d: at every tick of 1 ms, for 40 ticks: how far a loop came, the counter, random bits, what was typed.
trace:
    movl $0, %edi
1:  incl %edi
    cmpl seen, %edi             // any read of memory that the interrupt changes
    movl ticks, %ecx
    cmpl seen, %ecx
    je 1b
    movl %ecx, seen
    movl %edi, %eax
    call print_number
    rdtsc
    call print_number
    movl $1, %eax
    cpuid
    btl $30, %ecx
    jnc 2f
    rdrand %eax
    call print_number
2:  movw $COM1 + 5, %dx
    inb %dx, %al
    testb $1, %al
    jz 3f
    movw $COM1, %dx
    inb %dx, %al
    call print_byte
3:  movb $'\n', %al
    call print_byte
    cmpl $40, seen
    jb 1b
    movb $0, %al                // seconds of the real-time clock, BCD
    outb %al, $0x70
    inb $0x71, %al
    movzbl %al, %eax
    call print_number
    jmp power_off

timer:
    pushl %eax
    incl ticks
    movb $0x20, %al
    outb %al, $0x20
    popl %eax
    iret

// EAX in decimal and a blank, on COM1. Destroys EAX, EBX, ECX, EDX.
print_number:
    movl $10, %ecx
    movl %esp, %ebx
1:  xorl %edx, %edx
    divl %ecx
    addl $'0', %edx
    pushl %edx
    testl %eax, %eax
    jnz 1b
2:  popl %eax
    call print_byte
    cmpl %esp, %ebx
    jne 2b
    movb $' ', %al
print_byte:
    movw $COM1, %dx
    outb %al, %dx
    ret

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    // 32-bit code, all of memory
    .quad 0x00cf93000000ffff    // data
gdt_pointer: .word 23
    .long gdt
idt_pointer: .word 0x21 * 8 - 1
    .long idt

    .bss
    .balign 16
idt: .skip 0x21 * 8
ticks: .skip 4
seen: .skip 4
start: .skip 8
    .balign 16
    .skip 4096
stack_top:
