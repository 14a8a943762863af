# Becomes a booted host. Runs in a new mount namespace with private propagation, so every mount made here goes away
# with the host. From the environment: NAME TREE DISK CGROUP NETNS.

# One write to this group's cgroup.kill ends the host. nspawn makes its own groups below it.
echo 0 >"$CGROUP/cgroup.procs"

# nspawn keeps state under /run/systemd, which need not exist where PID 1 is not systemd.
mount -t tmpfs tmpfs /run
mkdir /run/systemd
# Without this it would find cgroup v1 where v1 is mounted, and make (and leave) groups there too.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t overlay -o "lowerdir=$TREE,upperdir=$DISK/upper,workdir=$DISK/work" "$NAME" "$DISK/root"

# UNIFIED_HIERARCHY: cgroup v2 inside, so that units can be frozen. SECCOMP, API_VFS_WRITABLE and the capabilities: the
# engine makes containers of its own, and sets sysctls. (systemd, docs/ENVIRONMENT.md)
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes
exec systemd-nspawn --quiet --boot --console=pipe \
    --directory="$DISK/root" --bind="$DISK/var:/var" --resolv-conf=off \
    --machine="$NAME" --hostname="$NAME" --network-namespace-path="$NETNS" \
    --register=no --keep-unit --capability=all
