/**
 * The handlers that are carried out most, the most frequent first: shapes as shapeName writes them, a comparison and its
 * branch with a plus between. One function has them all (core.ts); the order keeps what is hot together there.
 *
 * Counted on 22 November 2026 by handlers that added one to a counter each: the boot of Debian's cloud kernel and the
 * seven operations of bench/guest/system.c, Python and gzip, dispersed code; and the boot of the 686 kernel with the
 * seven operations. They were 98.4 % of what the 64-bit guests carried out but for repeated instructions, 97.6 % of the
 * 32-bit one. Added since: the indexed jump through a table, which compilers and interpreters make of a switch.
 */
export const COMMON_HANDLERS: readonly string[] = `
mov 89 /r 64
mov 8B /r 64 plain
push 50+r 64
pop 58+r 64
mov 89 /r 32
xor 31 /r 32
mov 8B /r 32 plain
add 81 /0 64
lfence NP 0F AE E8 16
add 01 /r 64
lea 8D /r 64 full
ret C3 64
jmp E9 32
call E8 64
mov 89 /r 64 plain
movzx 0F B6 /r 32 plain
add 81 /0 32
movsxd 63 /r 64
add 01 /r 32
and 81 /4 32
mov B8+r 32
mov 89 /r 32 plain
mov 8B /r 64 full
cmp 39 /r 64 + jne
test 85 /r 64 + je
shr C1 /5 64
je 74 32
lea 8D /r 32 full
test 84 /r 64 + je
cmp 39 /r 32 + jne
ror C1 /1 32
test 85 /r 32 + jne
sub 29 /r 64
sub 81 /5 64
sub 81 /5 32
jne 75 32
test 84 /r 64 + jns
test 85 /r 32 + je
and 25 32
movzx 0F B6 /r 32
movzx 0F B6 /r 32 full
movzx 0F B7 /r 32 full
test F6 /1 64 plain + jne
cmp 39 /r 32 + jae
cmp 38 /r 64 full + jne
cmp 39 /r 64 + jae
mov B8+r 64
mov C7 /0 64 plain
cmp 39 /r 64 + je
mov C7 /0 32 plain
cmp 83 /7 32 + je
rol C1 /0 32
cmp 80 /7 64 plain + jne
movzx 0F B7 /r 32 plain
shl C1 /4 64
cmp 39 /r 64 + jb
mov 89 /r 16 plain
sub 29 /r 32
shr C1 /5 32
test 84 /r 64 + jne
movaps NP 0F 29 /r 16 plain
mov C6 /0 16 plain
cmp 39 /r 64
add 03 /r 64 plain
cmp 3C 64 + jne
and 81 /4 64
mov 8B /r 32 full
mov 88 /r 16 plain
movsxd 63 /r 64 plain
test 85 /r 64 + jne
cmp 3C 64 + je
test F6 /1 64 + jne
cmp 83 /7 32 + jbe
cmp 83 /7 64 + je
sar C1 /7 64
test F7 /1 32 + jne
and 21 /r 64
cmp 3A /r 64 full + je
xor 31 /r 64
cmovns 0F 49 /r 32
test A8 64 + jne
test 85 /r 16
not F7 /2 64
cmp 83 /7 32 + ja
sub 2B /r 64 full
jbe 76 32
imul 69 /r 32
js 78 32
sar D1 /7 64
cmp 83 /7 32 + jae
or 09 /r 64
test 85 /r 32 + jns
imul 69 /r 64
add 01 /r 32 full
rol C1 /0 64
cmovae 0F 43 /r 64
cmp 83 /7 64 + ja
xor 33 /r 32 full
cmp 39 /r 64 plain + jne
inc FF /0 32 full
shl C1 /4 32
cmp 83 /7 64 plain + jne
dec FF /1 32 full
mov 89 /r 16 full
cmp 38 /r 64 plain + jne
add 05 32
cmovb 0F 42 /r 64
cmp 80 /7 64 + je
shr D1 /5 64
cmp 80 /7 64 plain + je
cmp 80 /7 16 plain
mov 89 /r 64 full
test 85 /r 32 + js
sbb 19 /r 32
movsxd 63 /r 64 full
cmp 3B /r 32 plain + jae
cmp 83 /7 64 plain + je
imul 0F AF /r 64
setne 0F 95 /r 16
pxor 66 0F EF /r 16
test F6 /1 64 plain + je
sete 0F 94 /r 16
cmp 39 /r 32
pcmpeqb 66 0F 74 /r 16
push 68 64
sub 81 /5 32 plain
cmp 81 /7 32
cmp 39 /r 32 + jb
or 81 /1 32
xor 33 /r 64 full
jae 73 32
test 85 /r 64
add 81 /0 32 plain
sub 2B /r 64 plain
add 05 64
movsx 0F BE /r 64 full
movsx 0F BE /r 32
mov 88 /r 16 full
push FF /6 64 plain
cbw/cwde/cdqe 98 64
cli FA 16
movups NP 0F 10 /r 16 plain
cmp 39 /r 32 + jge
test F6 /1 64 + je
and 80 /4 16
dec FF /1 64
cmp 39 /r 32 + je
call FF /2 64 plain
xor 30 /r 16
cmp 83 /7 64 + jne
shl D3 /4 32
test A8 64 + je
cmp 83 /7 32 + jne
jmp FF /4 64 plain
jmp FF /4 64 full
cmovne 0F 45 /r 32
cmp 39 /r 64 plain + je
and 25 64
sti FB 16
jb 72 32
cmpxchg 0F B1 /r 32 plain
cmp 39 /r 32 plain + je
cmp 3D 32 + ja
and 21 /r 32
call FF /2 64
swapgs 0F 01 F8 16
cmp 3D 32
test A9 32 + je
test F7 /1 32 + je
cmp 81 /7 64 plain
pmovmskb 66 0F D7 /r 16
bsf 0F BC /r 32
cmp 81 /7 64
test 85 /r 32
mov 8A /r 16 full
cmp 83 /7 64 + jbe
ja 77 32
test A9 32 + jne
pushf/pushfd/pushfq 9C 64
add 03 /r 64 full
xor 33 /r 32 plain
cmp 83 /7 32 + jb
or 0B /r 16 plain
cmovs 0F 48 /r 64
or 0B /r 64 plain
cmp 83 /7 64 + jb
cmp 3B /r 64 plain + je
mov 89 /r 32 full
test 85 /r 32 + jle
xor 81 /6 32
cmp 3D 64 + je
jg 7F 32
shl D3 /4 64
cmp 39 /r 64 plain + jb
por 66 0F EB /r 16
movups NP 0F 10 /r 16
movd/movd/movq 66 0F 6E /r 16
add 01 /r 64 full
pshufd 66 0F 70 /r ib 16
punpcklwd 66 0F 61 /r 16
punpcklbw 66 0F 60 /r 16
cmp 39 /r 64 + jg
test F7 /1 64 + je
add 01 /r 64 plain
neg F7 /3 64
dec 48+r 32 legacy32
cmp 80 /7 64 + jne
movzx 0F B7 /r 32
shr D3 /5 64
movsx 0F BE /r 64
cmp 39 /r 32 plain + jbe
add 81 /0 64 plain
cmp 81 /7 32 plain
and 81 /4 32 plain
cmp 38 /r 64 + je
cmovbe 0F 46 /r 32
rdtsc 0F 31 16
cmp 83 /7 32 + jle
or 09 /r 32
test F7 /1 64 + jne
add 81 /0 16 full
cmp 3B /r 32 plain + jne
cmovb 0F 42 /r 32
cmp 39 /r 32 plain + jb
cmp 3B /r 32 plain
cmp 3B /r 64 plain + jb
setb 0F 92 /r 16
cmp 39 /r 32 + jle
or 81 /1 64
btr 0F BA /6 64 plain
neg F7 /3 32
jmp FF /4 64
leave C9 64
cmp 38 /r 64 plain + je
jle 7E 32
sbb 19 /r 64
cmove 0F 44 /r 64
add 03 /r 32 plain
cmp 3C 64 + jbe
bt 0F BA /4 64
cmovne 0F 45 /r 64
and 23 /r 64 plain
push FF /6 64 full
syscall 0F 05 16
sysret/sysret/sysretq 0F 07 64
bswap 0F C8+r 64
cmp 3D 64 + jae
sub 2D 64
test F6 /0 16
cmp 3D 64 + ja
cmp 39 /r 64 + jl
mov 8B /r 32 plain legacy32
push 50+r 32 legacy32
lea 8D /r 32 full address 32
mov 89 /r 32 plain legacy32
pop 58+r 32 legacy32
ret C3 32 legacy32
call E8 32 legacy32
test 85 /r 32 legacy32 + je
movzx 0F B6 /r 32 plain legacy32
jmp E9 32 legacy32
cmp 39 /r 32 legacy32 + jne
jne 75 32 legacy32
test 85 /r 32 legacy32 + jne
mov A1 32 plain legacy32
cmp 83 /7 32 legacy32 + je
mov C7 /0 32 plain legacy32
test 84 /r 32 legacy32 + jns
movaps NP 0F 29 /r 16 plain legacy32
je 74 32 legacy32
test 84 /r 32 legacy32 + je
test 84 /r 32 legacy32 + jne
push 68 32 legacy32
leave C9 32 legacy32
sub 2B /r 32 plain legacy32
mov 88 /r 16 plain legacy32
cmp 39 /r 32 legacy32 + je
test F6 /1 32 plain legacy32 + jne
add 03 /r 32 plain legacy32
inc FF /0 32 plain legacy32
cmp 39 /r 32 plain legacy32 + jne
dec FF /1 32 plain legacy32
add 81 /0 32 plain legacy32
lodsb AC 16 legacy32
cmp 3C 32 legacy32 + je
scasb AE 16 legacy32
imul 0F AF /r 32
js 78 32 legacy32
test F6 /1 32 legacy32 + jne
cmp 83 /7 32 legacy32 + jb
cmp 39 /r 32 plain legacy32 + je
cmp 83 /7 32 legacy32 + jbe
jbe 76 32 legacy32
sub 81 /5 32 plain legacy32
cmp 83 /7 32 legacy32 + ja
cmp 3C 32 legacy32 + jne
movzx 0F B7 /r 32 plain legacy32
test F7 /1 32 legacy32 + jne
movsx 0F BE /r 32 plain legacy32
mov C6 /0 16 plain legacy32
cmp 39 /r 32 legacy32 + jae
cmp 83 /7 32 legacy32 + jne
sbb 1B /r 32 plain legacy32
add 01 /r 32 plain legacy32
jb 72 32 legacy32
pushf/pushfd/pushfq 9C 32 legacy32
cmp 39 /r 32 legacy32 + jb
test F6 /1 32 plain legacy32 + je
test F7 /1 32 plain legacy32 + jne
ja 77 32 legacy32
push FF /6 32 plain legacy32
jae 73 32 legacy32
cmp 39 /r 32 plain legacy32 + jae
shr D1 /5 32
cmovae 0F 43 /r 32
rdtscp 0F 01 F9 16
cmp 38 /r 32 legacy32 + jb
mov 8A /r 16 plain legacy32
cmp 83 /7 16 plain legacy32 + jne
popf/popfd/popfq 9D 32
sar C1 /7 32
cmp 83 /7 32 legacy32 + jae
btr 0F BA /6 32 plain legacy32
cmpxchg 0F B1 /r 32 plain legacy32
cmove 0F 44 /r 32
cmovs 0F 48 /r 32
cld FC 16
test A8 32 legacy32 + je
xor 33 /r 32 plain legacy32
test A8 16
test A9 32 legacy32 + je
cmp 81 /7 32 plain legacy32
clac NP 0F 01 CA 16
cmp 3B /r 32 plain legacy32 + je
test F6 /1 32 legacy32 + je
adc 11 /r 32
test A9 32 legacy32 + jne
test A8 32 legacy32 + jne
or 0C 16
and 23 /r 32 plain legacy32
cmp 3D 32 legacy32 + ja
and 81 /4 32 plain legacy32
cmp 39 /r 32 plain legacy32
cmp 39 /r 32 plain legacy32 + jb
cmp 3B /r 32 plain legacy32 + jne
or 0B /r 32 plain legacy32
or 81 /1 32 plain legacy32
test F7 /0 32 plain legacy32
stac NP 0F 01 CB 16
mov 89 /r 16 plain legacy32
call FF /2 32 plain legacy32
cmp 82 /7 32 plain legacy32 + jne
mov 8E /4 16
mov 8E /0 16
mov 8E /3 16
push es 06 32 legacy32
push ds 1E 32 legacy32
push fs 0F A0 32 legacy32
inc 40+r 32 legacy32
jmp FF /4 32 legacy32
cmp 3D 32 legacy32 + jae
`
  .trim()
  .split('\n');
