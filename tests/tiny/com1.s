# The first serial port, polled. Each routine leaves all registers but ax as they were, and DF clear.

# Set the port to 115200 8N1 with its FIFO, so that 16 typed bytes wait for a slow reader.
com1_init:
        pushw   %dx
        movw    $0x3fb, %dx             # line control: divisor latch
        movb    $0x80, %al
        outb    %al, %dx
        movw    $0x3f8, %dx
        movw    $1, %ax                 # divisor 1, low byte
        outb    %al, %dx
        incw    %dx
        movb    %ah, %al                # and high byte
        outb    %al, %dx
        incw    %dx
        movb    $0x07, %al              # FIFO on, both ways cleared
        outb    %al, %dx
        incw    %dx
        movb    $0x03, %al              # 8N1, latch closed
        outb    %al, %dx
        popw    %dx
        ret

# Send al.
com1_put:
        pushw   %dx
        pushw   %ax
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al              # has it room?
        jz      1b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        popw    %dx
        ret

# Send the text at si, up to its NUL.
com1_say:
        pushw   %si
1:      lodsb
        testb   %al, %al
        jz      2f
        call    com1_put
        jmp     1b
2:      popw    %si
        ret
