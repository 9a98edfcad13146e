#!/bin/sh
# In new namespaces and as their PID 1: make a root that nobody else sees, and become systemd in it.
#   systemd_root.sh WORK NOTIFY LOWER DIRECTORY...
# WORK is an empty directory for the mounts. NOTIFY holds the socket `notify`, to which systemd says that it is
# up. LOWER becomes the root, with a layer in memory over it. Each DIRECTORY is there too, read-only and by the
# same name.
set -eu
work=$1
notify=$2
lower=$3
shift 3

mount --make-rprivate /
mount -t tmpfs reaperd-test "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work" reaperd-test "$work/root"
root=$work/root

# What belongs to the kernel and not to the namespaces may be read only.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  : >"$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"

mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/reaperd-test"
mount --bind "$notify" "$root/run/reaperd-test"
for directory in "$@"; do
  mkdir -p "$root$directory"
  mount --bind "$directory" "$root$directory"
  mount -o remount,bind,ro "$root$directory"
done

# Units of the machine's own that would reach for the kernel, or only cost time.
mkdir -p "$root/run/systemd/system"
for unit in systemd-modules-load.service systemd-journald-audit.socket sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount systemd-journal-flush.service \
  systemd-update-utmp.service cryptsetup.target veritysetup.target integritysetup.target; do
  ln -s /dev/null "$root/run/systemd/system/$unit"
done

cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec env -i container=reaperd-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  NOTIFY_SOCKET=/run/reaperd-test/notify /lib/systemd/systemd --unit=basic.target --show-status=no
