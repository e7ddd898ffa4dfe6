# A node: everything below this shell dies when it reboots or is powered off. $1 is its folder.
set -u
D=$1
fail() { echo "$1" >"$D/broken"; exit 90; }
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/sshd || fail run
mount -t tmpfs -o mode=700 tmpfs /root || fail root
if [ -e "$D/apart" ]; then ip link set lo up || fail lo; fi
mount --bind "$D/boot_id" /proc/sys/kernel/random/boot_id || fail boot_id
mount --bind "$D/shadow" /etc/shadow || fail shadow
# Nobody in here may reach the machine's own switch: it does not belong to this namespace's root, and is covered besides.
if [ -e /proc/sysrq-trigger ]; then mount --bind "$D/trigger" /proc/sysrq-trigger || fail sysrq; fi
mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin || fail sbin
for word in reboot:b poweroff:o; do
  name=/usr/local/sbin/${word%:*}
  printf '#!/bin/sh\necho %s >%s/trigger\nsleep 60\n' "${word#*:}" "$D" >"$name" && chmod 755 "$name" || fail stub
done
up() {
  /usr/sbin/sshd -D -f "$D/sshd_config" -E "$D/sshd.log" </dev/null >/dev/null 2>&1 &
  echo on >"$D/power.new" && mv "$D/power.new" "$D/power"
}
exec 3<>"$D/trigger"
up
while read -r key <&3; do
  case $key in
  b | o)
    echo "$key" >>"$D/orders"
    [ -e "$D/lies" ] && continue
    ;;
  esac
  case $key in
  p) [ "$(cat "$D/power")" = on ] || up ;;
  b | o | k)
    kill -KILL -1
    echo off >"$D/power.new" && mv "$D/power.new" "$D/power"
    if [ "$key" = b ] && [ ! -e "$D/stays_down" ]; then
      sleep "$(cat "$D/boot_time")"
      [ -e "$D/same_boot" ] || cat /proc/sys/kernel/random/uuid >"$D/boot_id"
      up
    fi
    ;;
  esac
done
