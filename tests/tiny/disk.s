# A guest in one boot sector: says who it is on the first serial port, echoes what is typed, and takes the power
# button at once. Some keys are commands:
#
#   o  power off            r  reset                h  hang, interrupts off
#   d  deaf: the power button does nothing from now on
#   f  flood the console, until a key is typed      w  write the disk's second sector
#
# On QEMU's q35 after SeaBIOS, ACPI's PM1a registers are at 0x600: status, 0x602: enable, 0x604: control.

        .code16
        .globl  start
start:
        ljmp    $0, $begin              # whatever segment the firmware chose
begin:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    %dl, drive
        call    com1_init
        movw    $0x602, %dx             # the power button's bit appears in the status only when it is enabled
        movw    $0x100, %ax
        outw    %ax, %dx
        movw    $ready, %si
        call    com1_say

idle:
        sti
        hlt                             # the timer wakes us 18 times a second: an idle guest costs next to nothing
look:
        call    button
        call    typed
        jz      idle
        call    com1_put
        cmpb    $'o', %al
        je      off
        cmpb    $'r', %al
        je      reset
        cmpb    $'h', %al
        je      hang
        cmpb    $'d', %al
        je      deaf
        cmpb    $'f', %al
        je      flood
        cmpb    $'w', %al
        je      write
        jmp     look

# Power off if the button was pressed.
button:
        movw    $0x600, %dx
        inw     %dx, %ax
        andb    listens, %ah
        jnz     off
        ret

# Take what was typed into al; ZF if that is nothing.
typed:
        movw    $0x3fd, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      1f
        movw    $0x3f8, %dx
        inb     %dx, %al
        testb   $0xff, always
1:      ret

off:
        movw    $bye, %si
        call    com1_say
        movw    $0x604, %dx             # sleep type 0 is S5 there
        movw    $0x2000, %ax
        outw    %ax, %dx
hang:
        cli
        hlt
        jmp     hang

reset:
        movw    $0xcf9, %dx
        movb    $6, %al
        outb    %al, %dx
        jmp     hang

deaf:
        movb    $0, listens
        movw    $is_deaf, %si
        call    com1_say
        jmp     look

flood:
        movw    $wave, %si
        call    com1_say
        call    button
        call    typed
        jz      flood
        movw    $ebb, %si
        call    com1_say
        jmp     look

write:
        movw    $0x0301, %ax            # one sector
        movw    $0x0002, %cx            # the second of the first track; what is in it is ourselves
        movb    $0, %dh
        movb    drive, %dl
        movw    $0x7c00, %bx
        int     $0x13
        movw    $written, %si
        jnc     1f
        movw    $unwritten, %si
1:      call    com1_say
        jmp     look

        .include "com1.s"

listens:        .byte   1
always:         .byte   1
drive:          .byte   0
ready:          .asciz  "tiny: ready\r\n"
bye:            .asciz  "\r\ntiny: off\r\n"
is_deaf:        .asciz  "\r\ntiny: deaf\r\n"
wave:           .asciz  "tiny: 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefg\r\n"
ebb:            .asciz  "tiny: ebb\r\n"
written:        .asciz  "\r\ntiny: written\r\n"
unwritten:      .asciz  "\r\ntiny: not written\r\n"

        .org    510
        .word   0xaa55
