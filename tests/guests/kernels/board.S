// A 32-bit multiboot kernel that does what the first letter of its command line says, for tests of the board.
// It says on COM1 what it found. Linked at an even MiB, because odd ones go away when the A20 gate is shut.

#define COM1 0x3f8
#define DEBUG_CONSOLE 0xe9
#define DEBUG_EXIT 0xf4
#define REAL_MODE_AT 0x8000

    .section .text
    .code32
    .balign 4
    .long 0x1badb002            // magic, flags (0: ELF gives the addresses), checksum
    .long 0
    .long -0x1badb002

    .globl _start
_start:
    movl $stack_top, %esp
    cmpl $0x2badb002, %eax
    jne not_multiboot
    movl 16(%ebx), %esi         // command line of the information structure
    movl $hello, %edi
    call print
    movl %esi, %edi
    call print
    movl $newline, %edi
    call print
    movb (%esi), %al
    cmpb $'e', %al
    je debug_exit
    cmpb $'t', %al
    je triple_fault
    cmpb $'k', %al
    je keyboard_reset
    cmpb $'c', %al
    je control_reset
    cmpb $'s', %al
    je system_port_reset
    cmpb $'p', %al
    je power_off
    cmpb $'h', %al
    je halt
    cmpb $'a', %al
    je a20
    cmpb $'r', %al
    je real_mode
    cmpb $'l', %al
    je loop_for_ever
not_multiboot:
    movb $0x7f, %al
    outb %al, $DEBUG_EXIT
halt:
    cli
    hlt
    jmp halt
loop_for_ever:
    jmp loop_for_ever

debug_exit:
    movb $'!', %al
    outb %al, $DEBUG_CONSOLE
    movb $0x21, %al
    outb %al, $DEBUG_EXIT
    jmp halt

triple_fault:
    lidt no_idt
    int3

keyboard_reset:
    movb $0xfe, %al
    outb %al, $0x64
    jmp halt

control_reset:
    movw $0xcf9, %dx
    movb $6, %al
    outb %al, %dx
    jmp halt

system_port_reset:
    movb $3, %al
    outb %al, $0x92
    jmp halt

power_off:                      // PM1a control: SLP_EN with the sleep type of S5
    movw $0x604, %dx
    movw $0x3400, %ax
    outw %ax, %dx
    jmp halt

// With the gate shut the second MiB is the first; told by what is read through it.
a20:
    movl $0x11111111, 0x9000
    movl $0x22222222, 0x109000
    movl 0x9000, %ecx           // open: 11111111
    movb $0, %al
    outb %al, $0x92
    movl 0x109000, %edx         // shut: 11111111
    movl $0x33333333, 0x109000
    movb $2, %al
    outb %al, $0x92
    movl $0, %ebp
    cmpl $0x11111111, %ecx
    jne 1f
    cmpl %ecx, %edx
    jne 1f
    cmpl $0x33333333, 0x9000
    jne 1f
    cmpl $0x22222222, 0x109000
    jne 1f
    movl $gate, %edi
    call print
1:  jmp debug_exit

// Copies a few 16-bit instructions below 1 MiB and leaves protected mode for them.
real_mode:
    movl $real_begin, %esi
    movl $REAL_MODE_AT, %edi
    movl $real_end - real_begin, %ecx
    rep movsb
    lgdt gdt_pointer
    ljmp $8, $REAL_MODE_AT

    .code16
real_begin:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $REAL_MODE_AT >> 4, $1f - real_begin
1:  movw %cs, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x400, %sp
    movw $real_text - real_begin, %si
    cld
2:  lodsb
    testb %al, %al
    jz 3f
    movw $COM1, %dx
    outb %al, %dx
    jmp 2b
3:  movb $0x21, %al
    outb %al, $DEBUG_EXIT
4:  hlt
    jmp 4b
real_text: .asciz "in real mode\n"
real_end:

    .code32
// Writes the string at EDI to COM1.
print:
    movb (%edi), %al
    testb %al, %al
    jz 1f
    movw $COM1, %dx
    outb %al, %dx
    incl %edi
    jmp print
1:  ret

hello: .asciz "test kernel: "
gate: .asciz "gate works\n"
newline: .asciz "\n"
no_idt: .word 0
    .long 0
    .balign 8
gdt:
    .quad 0
    .quad 0x00009b000000ffff    // 16-bit code at 0
    .quad 0x000093000000ffff    // 16-bit data at 0
gdt_pointer: .word 23
    .long gdt

    .bss
    .balign 16
    .skip 4096
stack_top:
