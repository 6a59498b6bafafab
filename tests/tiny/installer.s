# An unattended installer in the boot image of a CD (El Torito, no emulation, four sectors at 0x7c00): writes the
# boot sector of disk.s to the first disk, reads ssh.pub on the FAT drive beside it, and keeps the contract of an
# installer. WAY says how it goes wrong:

        .set    WELL, 0
        .set    FAILS, 1                # says INSTALL_FAILED and why
        .set    SILENT, 2               # never says a word
        .set    UNSAID, 3               # powers off and says nothing of success
        .set    HALTS, 4                # succeeds and halts, as Linux's halt does
        .set    RESETS, 5               # succeeds and resets instead of powering off
        .set    HANGS, 6                # begins, and then says no more
        .set    WAITS, 7                # begins, goes on when the power button is pressed, and succeeds
        .set    FILLS, 8                # writes 4 MiB before it succeeds
        .set    CHATTERS, 9             # says a word now and then, for ever

        .set    DISK, 0x80              # int 13h: the first disk
        .set    FAT, 0x81               # and the one after it

        .code16
        .globl  start
start:
        ljmp    $0, $begin
begin:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        call    com1_init

        .if     WAY == SILENT
        jmp     hang
        .endif

        movw    $0x602, %dx             # ACPI's PM1a: the power button is enabled here, and seen at 0x600
        movw    $0x100, %ax
        outw    %ax, %dx
        movw    $writing, %si
        call    com1_say

        .if     WAY == FAILS
        movw    $no_luck, %si
        jmp     last
        .endif
        .if     WAY == HANGS
        jmp     hang
        .endif
        .if     WAY == CHATTERS
chatter:
        sti
        hlt                             # the timer wakes us 18 times a second
        movw    $still, %si
        call    com1_say
        jmp     chatter
        .endif
        .if     WAY == WAITS
        movw    $0x600, %dx
wait:
        sti
        hlt
        inw     %dx, %ax
        testb   $1, %ah
        jz      wait
        .endif

        movb    $0x43, operation        # extended write
        movb    $DISK, drive
        movw    $disk_sector, buffer
        call    transfer
        jc      unwritable

        .if     WAY == FILLS
        movw    $64, sectors            # 32 KiB of whatever is in memory
        movw    $128, %cx
fill:
        addl    $64, lba
        call    transfer
        jc      unwritable
        loop    fill
        movw    $1, sectors
        .endif

        movw    $reading, %si
        call    com1_say
        call    show_key

        .if     WAY == UNSAID
        jmp     off
        .endif
        movw    $successful, %si
        .if     WAY == HALTS
        call    com1_say
        movw    $halted, %si
        call    com1_say
        jmp     hang
        .endif
        .if     WAY == RESETS
        call    com1_say
        movw    $0xcf9, %dx
        movb    $6, %al
        outb    %al, %dx
        jmp     hang
        .endif

last:
        call    com1_say
off:
        movw    $0x604, %dx             # ACPI's PM1a control: sleep type 0 is S5 on q35
        movw    $0x2000, %ax
        outw    %ax, %dx
hang:
        cli
        hlt
        jmp     hang

unwritable:
        movw    $no_disk, %si
        jmp     last

# Say what is in ssh.pub. The drive has no partitions; its first sector describes a FAT12 or FAT16.
show_key:
        movb    $0x42, operation        # extended read
        movb    $FAT, drive
        movl    $0, lba
        movw    $0x8000, buffer
        call    transfer
        jc      no_key
        movzbw  0x8010, %ax             # so many FATs
        mulw    0x8016                  # of so many sectors
        addw    0x800e, %ax             # after so many reserved ones:
        movw    %ax, lba                # there the root directory is
        movw    0x8011, %bx             # so many entries
        shrw    $4, %bx                 # of which a sector has 16
        addw    %ax, %bx                # behind them the first cluster, number 2
        movw    $4, sectors
        movw    $0x8200, buffer
        call    transfer
        jc      no_key
        movw    $1, sectors
        movw    $0x8200, %di
look:
        movw    $name, %si
        movw    $11, %cx
        pushw   %di
        repe    cmpsb
        popw    %di
        je      found
        addw    $32, %di
        cmpw    $0x8a00, %di
        jb      look
no_key:
        movw    $keyless, %si
        jmp     com1_say
found:
        movw    26(%di), %ax            # its first cluster
        subw    $2, %ax
        movzbw  0x800d, %cx             # of so many sectors
        mulw    %cx
        addw    %bx, %ax
        movw    %ax, lba
        movw    28(%di), %di            # its length, before the file is read where its entry is
        call    transfer
        jc      no_key
        movb    $0, 0x8200(%di)
        movw    $key, %si
        call    com1_say
        movw    $0x8200, %si
        jmp     com1_say

# Carry out what stands in `packet`; CF if it failed.
transfer:
        pushaw
        movb    operation, %ah
        movb    $0, %al
        movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        popaw
        ret

        .include "com1.s"

        .balign 4
packet:         .byte   16, 0           # as int 13h's extensions have it
sectors:        .word   1
buffer:         .word   0, 0
lba:            .long   0, 0
operation:      .byte   0
drive:          .byte   0
name:           .ascii  "SSH     PUB"
writing:        .asciz  "tiny installer\r\nINSTALL_PROGRESS 1/2 writing\r\n"
reading:        .asciz  "INSTALL_PROGRESS 2/2 reading the key\r\n"
key:            .asciz  "KEY: "
keyless:        .asciz  "there is no ssh.pub\r\n"
successful:     .asciz  "INSTALL_SUCCESSFUL\r\n"
no_luck:        .asciz  "INSTALL_FAILED: no luck\r\n"
no_disk:        .asciz  "INSTALL_FAILED: the disk can't be written\r\n"
halted:         .asciz  "[    1.234567] reboot: System halted\r\n"
still:          .asciz  "still busy\r\n"

        .org    1536
disk_sector:
        .incbin "disk.bin"
        .org    2048
