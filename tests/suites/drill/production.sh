# Everything of a host that an engine touches, one thing a line. Counters of rules are left out, since traffic goes on; so are
# the kernel's own threads, and what looks here.
processes() {
    ps --no-headers -eo pid,ppid,comm |
        awk '$2 != 2 && $1 != 2 && ($2 != 0 || $1 == 1) && $3 !~ /^(ps|awk|sort|sh|bash)$/ {print $1, $3}' | sort
}
rules() { sed -e '/^#/d' -e 's/\[[0-9]*:[0-9]*\]//'; }
echo '# processes'
processes
echo '# mounts'
cut -d' ' -f3- /proc/1/mountinfo | sort
echo '# namespaces'
processes | while read -r pid comm; do
    for kind in net mnt uts ipc pid cgroup; do
        readlink "/proc/$pid/ns/$kind"
    done
done 2>/dev/null | sort -u
ls /run/docker/netns
echo '# rules'
iptables-save | rules
ip6tables-save 2>/dev/null | rules
echo '# links'
ip -o link | sed 's/ qlen.*//'
ip -o address | sed 's/ valid_lft.*//'
ip route
echo '# cgroups'
find /sys/fs/cgroup -type d | sort
echo '# containers'
docker ps --no-trunc --format '{{.ID}} {{.Names}} {{.Image}}' | sort
docker inspect --format '{{.Id}} {{.RestartCount}} {{.State.StartedAt}} {{.State.Pid}}' $(docker ps -q) | sort
echo '# engine'
systemctl show --property=MainPID,NRestarts,ActiveEnterTimestampMonotonic docker.service containerd.service
docker images -q --no-trunc
docker volume ls -q
docker network ls --format '{{.ID}} {{.Name}}' | sort
docker plugin ls -q
ls /run/docker/plugins /etc/docker
docker service ls --format '{{.ID}} {{.Name}} {{.Replicas}}' | sort
docker node ls --format '{{.ID}} {{.Status}} {{.Availability}} {{.ManagerStatus}}'
echo '# kernel'
grep -r . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/neigh/default /proc/sys/net/bridge 2>/dev/null | sort
