#!/bin/busybox sh
# PID 1 of Provium's emulated host until Provium takes over: makes the outer machine's file system the root,
# under a layer in memory that takes all writes, and hands over to the `provium` found there.
b=/bin/busybox
fail() {
	echo "provium: $1"
	$b poweroff -f
}

$b mkdir -p /proc /sys /dev /lower /upper /root
$b mount -t proc proc /proc || fail "cannot mount /proc"
$b mount -t sysfs sys /sys || fail "cannot mount /sys"
$b mount -t devtmpfs dev /dev || fail "cannot mount /dev"
while read -r module; do
	$b insmod "/modules/$module" || fail "cannot load the kernel module $module"
done </modules/order

$b mount -t 9p -o "ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose" host /lower ||
	fail "cannot mount the outer machine's file system"
$b mount -t tmpfs -o "mode=0755,size=80%" upper /upper || fail "cannot mount a file system in memory"
$b mkdir /upper/data /upper/work
$b mount -t overlay -o "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work" root /root ||
	fail "cannot lay a writable layer over the outer machine's file system"
# Those files as they are outside: by them it is told what of a folder would be lost with this machine.
$b mkdir /dev/provium-outer
$b mount --bind /lower /dev/provium-outer || fail "cannot show the outer machine's file system"
for folder in proc sys dev; do
	$b mount --move /$folder /root/$folder || fail "cannot move /$folder"
done
$b ip link set lo up

# The path of `provium`, two hexadecimal digits a byte, for it may hold any.
for word in $($b cat /root/proc/cmdline); do
	case $word in
	provium.exe=*) exe=$(printf "$(echo "${word#*=}" | $b sed 's/../\\x&/g')") ;;
	esac
done
[ -x "/root$exe" ] || fail "cannot execute $exe: is it readable for the user who started Provium?"
exec $b switch_root /root "$exe" emulated-host-init
