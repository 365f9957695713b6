// A multiboot kernel for machines that change engine while they run, in long mode. It computes a digest, counts
// interrupts of the PIT (through the 8259 pair) and of the local APIC's timer, and echoes what it gets on COM1 by
// interrupt, until that is a 'q'. Then it sleeps through 20 interrupts of the PIT, and says "rounds digest pit apic",
// each as 8 digits.

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4
#define APIC 0xfee00000
#define APIC_EOI 0x0b0
#define APIC_SVR 0x0f0
#define APIC_LVT_TIMER 0x320
#define APIC_INITIAL_COUNT 0x380
#define APIC_DIVIDE 0x3e0
#define PIC_VECTOR 0x20
#define APIC_VECTOR 0x40
#define PERIODIC 0x20000
#define PIT_COUNT 23864         // 50 Hz
#define APIC_COUNT 1250000      // 50 Hz at 1 GHz / 16
#define PRIME 0x01000193

    .section .text
    .code32
    .balign 4
    .long 0x1badb002            // magic, flags (0: ELF gives the addresses), checksum
    .long 0
    .long -0x1badb002

    .globl _start
_start:
    movl $stack_top, %esp
    movl $pages, %edi           // four directories of 2 MiB pages: all of 4 GiB as it is
    movl $0xe3, %eax
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    cmpl $pages_end, %edi
    jb 1b
    movl $pages + 0x23, %eax
    movl $pointers, %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b
    movl $pointers + 0x23, root
    movl $root, %eax
    movl %eax, %cr3
    movl $0x20, %eax            // PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx      // EFER.LME
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $1f
    .code64
1:  movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss

    movl $PIC_VECTOR, %ecx      // gates for IRQ 0 and 4 and the APIC's timer
    movl $pit_interrupt, %edx
    call set_gate
    movl $PIC_VECTOR + 4, %ecx
    movl $serial_interrupt, %edx
    call set_gate
    movl $APIC_VECTOR, %ecx
    movl $apic_interrupt, %edx
    call set_gate
    lidt idt_pointer

    movl $setup, %esi           // ports and values
2:  movw (%rsi), %dx
    testw %dx, %dx
    jz 3f
    movb 2(%rsi), %al
    outb %al, %dx
    addl $3, %esi
    jmp 2b
3:  movl $APIC, %ebp
    movl $0x1ff, APIC_SVR(%rbp)
    movl $3, APIC_DIVIDE(%rbp)
    movl $PERIODIC | APIC_VECTOR, APIC_LVT_TIMER(%rbp)
    movl $APIC_COUNT, APIC_INITIAL_COUNT(%rbp)
    sti

    xorl %eax, %eax             // digest
    xorl %ecx, %ecx             // round
4:  leal (, %rcx, 4), %edx
    andl $0x3ffc, %edx
    xorl table(%rdx), %eax
    roll $5, %eax
    imull $PRIME, %eax, %eax
    addl %ecx, %eax
    movl %eax, table(%rdx)
    incl %ecx
    cmpl $0, stop
    je 4b

    movl pit_count, %ebx        // sleeps
    addl $20, %ebx
5:  hlt
    cmpl %ebx, pit_count
    jb 5b
    cli
    movl %eax, %ebx
    movl %ecx, %eax
    call print
    movl %ebx, %eax
    call print
    movl pit_count, %eax
    call print
    movl apic_count, %eax
    call print
    movb $0x21, %al
    outb %al, $DEBUG_EXIT
6:  hlt
    jmp 6b

pit_interrupt:
    pushq %rax
    incl pit_count
    movb $0x20, %al
    outb %al, $0x20
    popq %rax
    iretq

apic_interrupt:
    incl apic_count
    movl $0, APIC_EOI(%rbp)
    iretq

serial_interrupt:
    pushq %rax
    pushq %rdx
7:  movl $COM1 + 5, %edx        // as long as there is something: the line gives one edge
    inb %dx, %al
    testb $1, %al
    jz 9f
    movl $COM1, %edx
    inb %dx, %al
    cmpb $'q', %al
    je 8f
    outb %al, %dx
    jmp 7b
8:  movl $1, stop
    jmp 7b
9:  movb $0x20, %al
    outb %al, $0x20
    popq %rdx
    popq %rax
    iretq

// Gate of vector ecx to edx. Changes eax and ecx.
set_gate:
    shll $4, %ecx
    movl %edx, %eax
    andl $0xffff, %eax
    orl $0x80000, %eax
    movl %eax, idt(%rcx)
    andl $0xffff0000, %edx
    orl $0x8e00, %edx
    movl %edx, idt + 4(%rcx)
    ret

// A space and eax as 8 hexadecimal digits on COM1. Changes rcx, rdx, rsi, rdi.
print:
    movl $8, %ecx
    movl %eax, %esi
    movl $COM1, %edx
    movb $' ', %al
    outb %al, %dx
1:  roll $4, %esi
    movl %esi, %edi
    andl $15, %edi
    movb digits(%rdi), %al
    outb %al, %dx
    decl %ecx
    jnz 1b
    ret

    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .quad gdt
idt_pointer:
    .word 0xfff
    .quad idt
digits:
    .ascii "0123456789abcdef"
    .macro to port, value
    .word \port
    .byte \value
    .endm
setup:
    to 0x20, 0x11
    to 0xa0, 0x11
    to 0x21, PIC_VECTOR
    to 0xa1, PIC_VECTOR + 8
    to 0x21, 4
    to 0xa1, 2
    to 0x21, 1
    to 0xa1, 1
    to 0x21, 0xee
    to 0xa1, 0xff
    to 0x43, 0x34
    to 0x40, PIT_COUNT & 0xff
    to 0x40, PIT_COUNT >> 8
    to COM1 + 1, 1
    to COM1 + 4, 8              // OUT2 lets the interrupt through
    .word 0

    .bss
    .balign 4096
pages:
    .skip 0x4000
pages_end:
pointers:
    .skip 0x1000
root:
    .skip 0x1000
idt:
    .skip 4096
table:
    .skip 0x4000
    .skip 4096
stack_top:
pit_count:
    .skip 4
apic_count:
    .skip 4
stop:
    .skip 4
