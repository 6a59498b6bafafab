# Boot sector: into 64-bit mode with paging, a fixed amount of work, out through isa-debug-exit.
#
#     as --64 -o probe.o probe.S && ld -Ttext 0x7c00 --oformat binary -o probe.bin probe.o
#
# Loaded by the BIOS at 0x7c00. Page tables go to 0x1000..0x3fff: the first 2 MiB, one to one.

        .set    TURNS, 40000000
        .set    EXIT_PORT, 0xf4
        .set    DONE, 0x2a              # QEMU's exit status will be DONE * 2 + 1

        .globl  _start
        .code16
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es

        movw    $0x1000, %di            # three empty tables
        movw    $0x1800, %cx
        rep     stosw
        movw    $0x2003, 0x1000         # level 4 -> level 3: present, writable
        movw    $0x3003, 0x2000         # level 3 -> level 2
        movw    $0x0083, 0x3000         # level 2: a page of 2 MiB at 0

        lgdt    gdtr
        movl    $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER: long mode enable
        rdmsr
        orw     $0x100, %ax
        wrmsr
        movl    $0x80000001, %eax       # paging and protection: long mode is active
        movl    %eax, %cr0
        ljmp    $8, $long

        .code64
long:   movl    $TURNS, %ecx
        movl    $0x9000, %esp
turn:   call    work
        decl    %ecx
        jnz     turn
        movb    $DONE, %al
        outb    %al, $EXIT_PORT
work:   addq    %rcx, %rax              # arithmetic, memory through the page tables, and a return, which
        movq    %rax, 0x8000            # costs TCG a look-up that hardware does not need
        ret

stop:   hlt
        jmp     stop

        .balign 8, 0
gdt:    .quad   0
        .quad   0x00209a0000000000      # 64-bit code; data segments need no entry in long mode
gdtr:   .word   gdtr - gdt - 1
        .long   gdt

        .org    510
        .word   0xaa55
