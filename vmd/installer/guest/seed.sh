# shellcheck shell=sh
# What the operator wrote on the FAT drive, and whether it can be believed. Sourced by init; needs nothing but busybox.
#
# Each check says on standard output what is wrong, and then fails.

KEYS_LIMIT=65536
NETWORK_LIMIT=16384
NETWORK_FILES=8

# readable FILE LIMIT: a file of 1 to LIMIT bytes, none of them NUL: QEMU's virtual FAT shows what it can't read as NULs.
readable() {
    size=$(stat -c %s "$1" 2>/dev/null) || { echo "cannot be read"; return 1; }
    [ "$size" -gt 0 ] || { echo "is empty"; return 1; }
    [ "$size" -le "$2" ] || { echo "has $size bytes, more than $2"; return 1; }
    [ "$(tr -d '\0' <"$1" | wc -c)" -eq "$size" ] && return
    echo "holds NUL bytes: the file behind it could not be read"
    return 1
}

# word FILE: its only line, without line end.
word() {
    tr -d '\r' <"$1" | awk 'NF { line = $0; n++ } END { sub(/^[ \t]+/, "", line); sub(/[ \t]+$/, "", line)
        if (n == 1) print line; else exit 1 }'
}

# matches TEXT PATTERN: the whole text matches the extended regular expression.
matches() {
    printf '%s' "$1" | tr '\n' '/' | grep -qxE "$2"
}

# valid_hostname TEXT: a DNS label.
valid_hostname() {
    matches "$1" '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
}

# valid_user TEXT: a name that useradd accepts too.
valid_user() {
    matches "$1" '[a-z_][a-z0-9_-]{0,31}'
}

# whole_key TYPE BASE64: the blob is a row of length-prefixed fields that ends where it should, the first one TYPE.
whole_key() {
    printf '%s' "$2" | base64 -d 2>/dev/null | hexdump -v -e '1/1 "%d\n"' | awk -v type="$1" '
        BEGIN { left = 0; need = 4; fields = 0 }
        need > 0 { length_of = length_of * 256 + $1; if (--need == 0) { left = length_of; length_of = 0; fields++
            if (left == 0) need = 4 }; next }
        { if (fields == 1) first = first sprintf("%c", $1 + 0); if (--left == 0) need = 4 }
        END { exit !(fields >= 2 && left == 0 && need == 4 && first == type) }'
}

# valid_keys FILE: authorized_keys syntax with at least one key, each of them whole.
valid_keys() {
    readable "$1" $KEYS_LIMIT || return 1
    found=$(tr -d '\r' <"$1" | awk '
        /^[ \t]*(#|$)/ { next }
        { type = ""; for (i = 1; i < NF; i++) if ($i ~ /^(ssh-|ecdsa-sha2-|sk-)[a-z0-9@.-]+$/ && $(i + 1) ~ /^AAAA/) {
              type = $i; key = $(i + 1); break }
          print NR, type ? type : "-", type ? key : "-" }')
    [ -n "$found" ] || { echo "holds no key"; return 1; }
    echo "$found" | while read -r line type key; do
        whole_key "$type" "$key" || { echo "line $line is not an OpenSSH public key"; exit 1; }
    done
}

# network_files DIRECTORY: the .network files of the seed, one path a line.
network_files() {
    for file in "$1"/*.network "$1"/network/*.network; do
        [ -f "$file" ] && echo "$file"
    done
    return 0
}

# valid_networks DIRECTORY: not too many of them, each with a plain name and readable.
valid_networks() {
    [ "$(network_files "$1" | wc -l)" -le $NETWORK_FILES ] || { echo "more than $NETWORK_FILES .network files"; return 1; }
    network_files "$1" | while read -r file; do
        matches "${file##*/}" '[A-Za-z0-9._-]{1,64}\.network' || { echo "${file##*/}: a name of other than letters, digits and ._-"; exit 1; }
        reason=$(readable "$file" $NETWORK_LIMIT) || { echo "${file##*/} $reason"; exit 1; }
    done
}
