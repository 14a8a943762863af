# Ends one lab once nobody owns it: reap wait|try DIRECTORY CGROUP-ROOT
# A lab is owned as long as some process holds the lock file in its directory; "try" leaves an owned one alone.
mode=$1 dir=$2 group=$3/swarmdr-${2##*/}

if [ -e "$dir/lock" ]; then
    exec 9<"$dir/lock"
    case $mode in
        wait) flock 9 ;;
        try) flock --nonblock 9 || exit 0 ;;
    esac
fi

if [ -d "$group" ]; then
    echo 1 >"$group/cgroup.kill"
    tries=0
    while [ "$tries" -lt 600 ]; do
        grep -q 'populated 0' "$group/cgroup.events" &&
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
        tries=$((tries + 1))
        sleep 0.05
    done
    [ -d "$group" ] && echo "processes of the lab $dir do not end: see $group" >&2 && exit 1
fi
rm -rf "$dir"
